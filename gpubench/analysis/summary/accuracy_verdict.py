"""Is a precision accurate enough to train with? Non-inferiority of the test score against the suite's reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpubench.analysis.summary.launch_estimates import from_location, mean_difference
from gpubench.core.findings import Finding, finding
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Estimate, Quality, Status
from gpubench.core.units import format_percent, told_apart
from gpubench.stats.estimators import t_quantile
from gpubench.store.run_info import understood
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings
from gpubench.suite.select.patterns import matches

if TYPE_CHECKING:
    from gpubench.analysis.summary.case_summary import CaseSummary

SEEDS_FOR_A_BOUND = 3


@dataclass(frozen=True)
class QualitySummary:
    """The quality runs at one device and precision.

    `difference` is the test score minus the reference's (a share, so 0.01 is a percentage point); `lower_bound` its
    one-sided 95 % bound on the worse side, from three seeds per side. `judged_by` says which of the two was compared
    with `max_drop`. `verdict` is `unknown` if this entry or the reference has no score. `metric` is what judges the
    task.
    """

    summary: "CaseSummary"
    reference: "CaseSummary | None"
    verdict: Literal["reference", "ok", "drop", "unknown"]
    max_drop: float
    difference: Estimate | None = None
    lower_bound: float | None = None
    judged_by: Literal["bound", "difference"] | None = None

    @property
    def runs(self) -> list[Quality]:
        """The trainings that ended well."""
        return _runs(self.summary)

    @property
    def metric(self) -> str:
        runs = self.runs or ([] if self.reference is None else _runs(self.reference))
        return runs[0].score_name if runs else "accuracy"

    @property
    def spec(self) -> MetricSpec:
        """Of the score; of one that no installed package registers, what the records know."""
        known = METRICS.get(self.metric)
        if known is not None or not self.runs:
            return known or METRICS["accuracy"]
        return METRICS["accuracy"]._replace(name=self.metric, title=self.metric, better=self.runs[0].score_better)

    @property
    def lower_is_better(self) -> bool:
        return bool(self.runs) and self.runs[0].score_better == "lower"

    @property
    def score(self) -> Estimate | None:
        """The task's score on the test split, a share of 1; None without a training that ended well."""
        return self.summary.metrics.get(self.metric)

    @property
    def trivial(self) -> Mapping[str, float]:
        """What trivial answers score on the same split, by their names, the best first."""
        found = self.runs[0].baselines if self.runs else {}
        return dict(sorted(found.items(), key=lambda each: each[1], reverse=not self.lower_is_better))

    @property
    def beaten_by(self) -> str | None:
        """The best trivial answer that scores as well as the trained model, or better."""
        best, score = next(iter(self.trivial.items()), None), self.score
        if best is None or score is None:
            return None
        return best[0] if (best[1] <= score.value if self.lower_is_better else best[1] >= score.value) else None

    @property
    def device(self) -> str:
        return self.summary.case.device

    @property
    def precision(self) -> str:
        return self.summary.case.precision


def judge_quality(summaries: Sequence["CaseSummary"], suite: Mapping[str, Any]) -> tuple[QualitySummary, ...]:
    """Each quality entry against the reference of the suite's `quality` section, on the same device if it has one."""
    settings = understood(QualitySettings, suite.get("quality") or {}, "the run's suite has a quality section")
    limit, judged = settings.max_accuracy_drop, []
    for entry in summaries:
        same_work = [other for other in summaries if other.case.workload == entry.case.workload]
        fits = [other for other in same_work if matches(other.case.settings, settings.reference)]
        fits.sort(key=lambda other: other.case.compress != "none")
        same_device = [other for other in fits if other.case.device == entry.case.device]
        reference = next(iter(same_device or fits), None)
        ours, theirs = _score_by_seed(entry), _score_by_seed(reference) if reference is not None else {}
        if reference is entry or not ours or not theirs:
            judged.append(QualitySummary(entry, reference, "reference" if reference is entry else "unknown", limit))
            continue
        # Paired by seed if both have the same seeds, which share weights and shuffling.
        location, n = mean_difference(ours, theirs)
        enough = min(len(ours), len(theirs)) >= SEEDS_FOR_A_BOUND
        sign = -1 if _runs(entry)[0].score_better == "lower" else 1
        margin = sign * t_quantile(0.95, location.df) * location.standard_error
        bound = location.mean - margin if enough else None
        verdict: Literal["ok", "drop"] = "drop" if sign * (location.mean if bound is None else bound) < -limit else "ok"
        difference = from_location(location, n, "1")
        by: Literal["bound", "difference"] = "bound" if enough else "difference"
        judged.append(QualitySummary(entry, reference, verdict, limit, difference, bound, by))
    return tuple(judged)


def _runs(summary: "CaseSummary") -> list[Quality]:
    return [each.quality for each in summary.records if each.status is Status.OK and each.quality is not None]


def _score_by_seed(summary: "CaseSummary") -> dict[int, float]:
    return {quality.seed: quality.score for quality in _runs(summary)}


def trained_for(case: Case, quality: Sequence[QualitySummary]) -> list[QualitySummary]:
    """The quality runs whose score is that of a case's model: of its workload, device, precision and compression. An
    inference case has some only where models are compressed.
    """
    if case.mode != "train" and all(entry.summary.case.compress == "none" for entry in quality):
        return []

    def key(of: Case) -> tuple[str, ...]:
        return (of.workload, of.device, of.precision, of.compress)

    return [entry for entry in quality if key(entry.summary.case) == key(case)]


def drop_findings(summary: "CaseSummary", quality: Sequence[QualitySummary]) -> tuple[Finding, ...]:
    """GB307 for a case whose trained model lost more of its score than is allowed."""
    found = []
    for entry in trained_for(summary.case, quality):
        if entry.verdict != "drop":
            continue
        assert entry.difference is not None
        assert entry.reference is not None
        least = entry.max_drop if entry.lower_is_better else -entry.max_drop
        points = f"{_points(entry.difference.value, least)} points"
        limit = f"{format_percent(entry.max_drop)[:-1]} points are allowed"
        where = f"{entry.reference.case.precision} on {entry.reference.case.device}"
        where = f"the plain model at {where}" if entry.summary.case.compress != "none" else where
        message = f"Test {entry.spec.title} {points} against {where}"
        if entry.judged_by == "bound" and entry.lower_bound is not None:
            worst = f"with 95 % confidence not worse than {_points(entry.lower_bound, least)}"
            message += f" over {entry.difference.n} seeds; {worst}, and {limit}."
        else:
            message += f"; {limit}. Fewer than three seeds: the plain difference was judged."
        facts: dict[str, Any] = {"difference": entry.difference.value, "lower_bound": entry.lower_bound}
        facts |= {"max_accuracy_drop": entry.max_drop, "num_seeds": entry.difference.n, "judged_by": entry.judged_by}
        found.append(finding("GB307", message, **facts))
    return tuple(found)


def _points(share: float, limit: float) -> str:
    return told_apart(share, limit, lambda each, decimals=2: f"{each * 100:+.{decimals}f}")[0]
