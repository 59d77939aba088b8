"""Is a precision accurate enough to be trained at? Non-inferiority of test accuracy against the suite's reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpubench.analysis.summary.launch_estimates import from_location
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Estimate, Status
from gpubench.core.units import format_percent
from gpubench.stats.estimators import Location, mean_location, t_quantile, welch_difference
from gpubench.suite.model.suite import Quality
from gpubench.suite.select.patterns import matches

if TYPE_CHECKING:
    from gpubench.analysis.summary.case_summary import CaseSummary

SEEDS_FOR_A_BOUND = 3


@dataclass(frozen=True)
class QualitySummary:
    """Training to a result at one device and precision.

    `difference` is test accuracy less that of the reference (a share, so 0.01 is a percentage point); `lower_bound`
    its one-sided 95 % bound, known from three seeds a side. `judged_by` says which of the two was held against
    `max_drop`. `verdict` is `unknown` where this entry or the reference has no accuracy.
    """

    summary: "CaseSummary"
    reference: "CaseSummary | None"
    verdict: Literal["reference", "ok", "drop", "unknown"]
    max_drop: float
    difference: Estimate | None = None
    lower_bound: float | None = None
    judged_by: Literal["bound", "difference"] | None = None

    @property
    def device(self) -> str:
        return self.summary.case.device

    @property
    def precision(self) -> str:
        return self.summary.case.precision


def judge_quality(summaries: Sequence["CaseSummary"], suite: Mapping[str, Any]) -> tuple[QualitySummary, ...]:
    """Each quality entry against the reference of the suite's `quality` section, on the same device where there is one."""
    settings = Quality.model_validate(suite.get("quality") or {})
    return tuple(_judge(entry, _reference_of(entry, summaries, settings), settings) for entry in summaries)


def _reference_of(entry: "CaseSummary", summaries: Sequence["CaseSummary"], settings: Quality) -> "CaseSummary | None":
    fits = [
        other
        for other in summaries
        if other.case.workload == entry.case.workload and matches(other.case.settings, settings.reference)
    ]
    same_device = [other for other in fits if other.case.device == entry.case.device]
    return next(iter(same_device or fits), None)


def _judge(entry: "CaseSummary", reference: "CaseSummary | None", settings: Quality) -> QualitySummary:
    limit = settings.max_accuracy_drop
    if reference is entry:
        return QualitySummary(entry, reference, "reference", limit)
    ours = _accuracy_by_seed(entry)
    theirs = _accuracy_by_seed(reference) if reference is not None else {}
    if not ours or not theirs:
        return QualitySummary(entry, reference, "unknown", limit)
    location, n = _difference(ours, theirs)
    if min(len(ours), len(theirs)) < SEEDS_FOR_A_BOUND:
        verdict: Literal["ok", "drop"] = "drop" if location.mean < -limit else "ok"
        return QualitySummary(entry, reference, verdict, limit, from_location(location, n, "1"), None, "difference")
    bound = location.mean - t_quantile(0.95, location.df) * location.standard_error
    verdict = "drop" if bound < -limit else "ok"
    return QualitySummary(entry, reference, verdict, limit, from_location(location, n, "1"), bound, "bound")


def _accuracy_by_seed(summary: "CaseSummary") -> dict[int, float]:
    return {
        record.quality.seed: record.quality.accuracy
        for record in summary.records
        if record.status is Status.OK and record.quality is not None
    }


def _difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[Location, int]:
    """Paired by seed where the seeds are the same (they share weights and shuffling), else Welch."""
    if ours.keys() == theirs.keys():
        pairs = [ours[seed] - theirs[seed] for seed in ours]
        return (mean_location(pairs) if len(pairs) > 1 else Location(pairs[0], float("nan"), 0)), len(pairs)
    first, second = list(theirs.values()), list(ours.values())
    n = min(len(first), len(second))
    if n < 2:
        return Location(sum(second) / len(second) - sum(first) / len(first), float("nan"), 0), n
    return welch_difference(first, second), n


def drop_findings(summary: "CaseSummary", quality: Sequence[QualitySummary]) -> tuple[Finding, ...]:
    """GB307 for a training case whose workload, device and precision lost accuracy."""
    if summary.case.mode != "train":
        return ()
    return tuple(_drop(entry) for entry in quality if entry.verdict == "drop" and _same_training(entry, summary))


def _same_training(entry: QualitySummary, summary: "CaseSummary") -> bool:
    ours, theirs = entry.summary.case, summary.case
    return (ours.workload, ours.device, ours.precision) == (theirs.workload, theirs.device, theirs.precision)


def _drop(entry: QualitySummary) -> Finding:
    assert entry.difference is not None
    assert entry.reference is not None
    points = f"{entry.difference.value * 100:+.2f} points"
    limit = f"{format_percent(entry.max_drop)[:-1]} points are allowed"
    against = f"against {entry.reference.case.precision} on {entry.reference.case.device}"
    if entry.judged_by == "bound" and entry.lower_bound is not None:
        message = (
            f"Test accuracy {points} {against} over {entry.difference.n} seeds; with 95 % confidence not worse than "
            f"{entry.lower_bound * 100:+.2f}, and {limit}."
        )
    else:
        message = f"Test accuracy {points} {against}; {limit}. Fewer than three seeds: the plain difference was judged."
    return finding(
        "GB307",
        message,
        difference=entry.difference.value,
        lower_bound=entry.lower_bound,
        max_accuracy_drop=entry.max_drop,
        num_seeds=entry.difference.n,
        judged_by=entry.judged_by,
    )
