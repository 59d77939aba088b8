"""How a case changed between two runs (or arms), each metric by its own rule."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpubench.analysis.compare.run_sides import Side
from gpubench.analysis.summary.case_summary import CaseEntry, CaseSummary, ComparableCase
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios
from gpubench.analysis.verdict.judge import Comparison, Level, Verdict
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.not_interleaved import compare_single, compare_stored
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Estimate, Status
from gpubench.core.units import format_percent
from gpubench.stats.estimators import welch_difference

Judgement = Literal["worse", "better", "same", "unclear"]
_JUDGEMENTS: dict[Verdict, Judgement] = {"slower": "worse", "faster": "better", "same": "same", "unclear": "unclear"}
CaseChangeKind = Literal["measured", "now_oom", "now_failed", "fixed", "added", "removed", "not_measured"]

SAME_WORK = 0.01
"""Largest relative difference in FLOPs per sample between sides that count as the same work."""

NOT_ON_BOTH_SIDES = "not measured on both sides"

STEP_METRICS = frozenset({"step_time_s", "throughput", "latency_s"})
"""Step time and metrics derived from it, which alternating blocks measure as a ratio."""

_WORK_METRICS = STEP_METRICS | {"sustained_throughput", "energy_per_sample_j", "samples_per_j"}


@dataclass(frozen=True)
class MetricChange:
    """How one metric moved. `change` is candidate / reference - 1, or the difference for shares and accuracies.

    `worse` and `better` follow the metric's direction in the registry; `reason` explains the judgement. `comparison`,
    for metrics judged as a ratio, is of a quantity that should be low: of a rate, the inverse.
    """

    metric: str
    judgement: Judgement
    change: Estimate | None
    reason: str
    comparison: Comparison | None = None

    @property
    def regression(self) -> Estimate | None:
        """The change with its sign turned so that above 0 is worse. None without a direction or a change."""
        better = METRICS[self.metric].better
        if better is None or self.change is None or better == "lower":
            return None if better is None else self.change
        low, high = (None if end is None else -end for end in (self.change.high, self.change.low))
        return replace(self.change, value=-self.change.value, low=low, high=high)


@dataclass(frozen=True)
class CaseChange:
    """One case in both runs. `kind` is `measured` if both have figures; otherwise `changes` is empty."""

    case_id: str
    label: str
    kind: CaseChangeKind
    reference: ComparableCase | None
    candidate: ComparableCase | None
    changes: Mapping[str, MetricChange]

    @property
    def measured(self) -> ComparableCase:
        """The case in the candidate, or else in the reference."""
        found = self.candidate or self.reference
        assert found is not None, "a case is in at least one of the runs"
        return found


def compare_runs(
    reference: Side | RunSummary,
    candidate: Side | RunSummary,
    metrics: Sequence[str],
    settings: CompareSettings | None = None,
    *,
    interleaved: bool = False,
    allow_unpaired: bool = False,
) -> tuple[CaseChange, ...]:
    """The cases of both sides, matched by their settings, in the candidate's order; removed ones last.

    `interleaved`: repeat r of both sides was one round (two arms of one run), so rounds are paired. Metrics that a case
    has on neither side are left out.
    """
    chosen = settings or CompareSettings()
    how = {"interleaved": interleaved, "allow_unpaired": allow_unpaired}
    befores, afters = ({(entry.kind, entry.case_id): entry for entry in side.cases} for side in (reference, candidate))
    found = []
    for key in dict.fromkeys((*afters, *befores)):
        before, after = befores.get(key), afters.get(key)
        kind = _kind(before, after)
        changes = {}
        if kind == "measured" and before is not None and after is not None:
            names = [name for name in metrics if before.launch_values(name) or after.launch_values(name)]
            changes = {name: compare_metric(METRICS[name], before, after, chosen, **how) for name in names}
        found.append(CaseChange(key[1], (afters.get(key) or befores[key]).label, kind, before, after, changes))
    return tuple(found)


def _kind(before: ComparableCase | None, after: ComparableCase | None) -> CaseChangeKind:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    if after.status is Status.OK:
        return "measured" if before.status is Status.OK else "fixed"
    if before.status is not Status.OK or after.status in (Status.SKIPPED, Status.UNSUPPORTED):
        return "not_measured"
    return "now_oom" if after.status is Status.OOM else "now_failed"


def compare_metric(
    spec: MetricSpec,
    reference: ComparableCase,
    candidate: ComparableCase,
    settings: CompareSettings,
    *,
    interleaved: bool = False,
    allow_unpaired: bool = False,
) -> MetricChange:
    """Compares one metric by its own rule.

    Maxima (memory, counts) are nearly deterministic: any change above the metric's tolerance counts. Times, rates and
    energies are compared as ratios over launches, paired by round if they were interleaved, or by block if the arms
    alternated in blocks. Shares and accuracies are compared as differences with Welch's interval. A case that is
    INVALID on either side, or whose sides did not do the same work, is `unclear`. Launches whose value is not above 0
    cannot be part of a ratio; they are left out, and the reason says so.
    """
    before, after = reference.launch_values(spec.name), candidate.launch_values(spec.name)
    why_not = _why_not(spec, reference, candidate, before, after)
    if why_not:
        return MetricChange(spec.name, "unclear", None, why_not)
    if spec.summarise == "max":
        old, new = max(before.values()), max(after.values())
        relative = spec.scale == "ratio" and old > 0
        change = new / old - 1 if relative else new - old
        worse = change > 0 if spec.better == "lower" else change < 0
        judgement: Judgement = "same" if abs(change) <= spec.tolerance else "worse" if worse else "better"
        moved = Estimate(value=change, unit="1" if relative else spec.unit)
        return MetricChange(spec.name, judgement, moved, "nearly deterministic: maxima compared")
    if spec.scale == "difference":
        return _differences(spec, list(before.values()), list(after.values()), settings)
    first, second = ([value for value in side.values() if value > 0] for side in (before, after))
    if not first or not second:
        if spec.group != "time" and not any(before.values()) and not any(after.values()):
            return MetricChange(spec.name, "same", Estimate(value=0.0, unit="1"), "0 on both sides")
        lacking = " and ".join(name for name, left in (("reference", first), ("candidate", second)) if not left)
        return MetricChange(spec.name, "unclear", None, f"{NOT_ON_BOTH_SIDES}: never above 0 ({lacking})")
    found = _compare_ratios(spec, reference, candidate, settings, interleaved, allow_unpaired)
    left_out = len(before) + len(after) - len(first) - len(second)
    if left_out:
        reason = f"{found.reason} ({left_out} of {len(before) + len(after)} launches left out: not above 0)"
        found = replace(found, reason=reason)
    return found


def _compare_ratios(
    spec: MetricSpec,
    reference: ComparableCase,
    candidate: ComparableCase,
    settings: CompareSettings,
    interleaved: bool,
    allow_unpaired: bool,
) -> MetricChange:
    if interleaved:
        logs, level = round_log_ratios(spec, reference, candidate)
        if not logs:
            return MetricChange(spec.name, "unclear", None, "no round has a figure of both sides")
        return ratio_change(spec, replace(compare_log_ratios(list(logs.values()), settings), level=level))
    sign, sides = _sign(spec), (reference, candidate)
    first, second = ([v**sign for v in side.launch_values(spec.name).values() if v > 0] for side in sides)
    ends = [found for side in sides if isinstance(side, CaseEntry) and (found := side.intervals.get(spec.name))]
    if len(first) == len(second) == 1 and len(ends) == 2:
        pair = (ends[0], ends[1])
        return ratio_change(spec, compare_single(first[0], second[0], pair, settings, allow_unpaired=allow_unpaired))
    return ratio_change(spec, compare_stored(first, second, settings, allow_unpaired=allow_unpaired))


def _why_not(
    spec: MetricSpec,
    reference: ComparableCase,
    candidate: ComparableCase,
    before: Mapping[int, float],
    after: Mapping[int, float],
) -> str | None:
    if spec.better is None:
        return "has no better direction"
    if not before or not after:
        return NOT_ON_BOTH_SIDES
    sides = {"reference": reference, "candidate": candidate}
    invalid = [name for name, side in sides.items() if side.validity is Validity.INVALID]
    if invalid:
        wrong = any(side.correctness == "fail" for side in sides.values())
        why = "the output is wrong, and fast but wrong is no figure" if wrong else "a finding invalidates the figure"
        return f"INVALID: {why} ({' and '.join(invalid)})"
    if spec.group == "quality":
        digests = [_data_digests(side) for side in sides.values()]
        if all(digests) and digests[0] != digests[1]:
            return f"not the same data: digests {' and '.join(', '.join(sorted(each)) for each in digests)}"
    flops = [list(side.launch_values("flops_per_sample").values()) for side in sides.values()]
    if spec.name not in _WORK_METRICS or not all(flops):
        return None
    moved = max(flops[1]) / max(flops[0]) - 1
    if abs(moved) <= SAME_WORK:
        return None
    return f"not the same work: FLOPs per sample differ by {format_percent(moved, signed=True)}"


def _data_digests(side: ComparableCase) -> set[str]:
    """Of what a quality run learned from and was tested on; empty where none is recorded."""
    records = side.records if isinstance(side, CaseSummary) else ()
    return {each.quality.data_digest for each in records if each.quality is not None and each.quality.data_digest}


def round_log_ratios(
    spec: MetricSpec, reference: ComparableCase, candidate: ComparableCase
) -> tuple[dict[int, float], Level]:
    """The log ratio of each round that both sides have, of a quantity that should be low (of a rate, the inverse), and
    the level.

    Alternating blocks give ratios of step time; if the sides differ in samples per step, throughputs are compared per
    sample.
    """
    before, after = reference.launch_values(spec.name), candidate.launch_values(spec.name)
    blocks = candidate.block_ratios() if isinstance(candidate, CaseSummary) and spec.name in STEP_METRICS else {}
    rounds = sorted(repeat for repeat in before if repeat in after and before[repeat] > 0 and after[repeat] > 0)
    if not rounds or not all(repeat in blocks for repeat in rounds):
        sign = _sign(spec)
        return {repeat: sign * (math.log(after[repeat]) - math.log(before[repeat])) for repeat in rounds}, "launch"
    if spec.name != "throughput":
        return {repeat: blocks[repeat] for repeat in rounds}, "block"
    samples = []  # per step, for each side
    for side in (reference, candidate):
        rates, times = side.launch_values("throughput"), side.launch_values("step_time_s")
        samples.append(next((rates[repeat] * times[repeat] for repeat in rates if repeat in times), 1.0))
    return {repeat: blocks[repeat] - math.log(samples[1] / samples[0]) for repeat in rounds}, "block"


def _sign(spec: MetricSpec) -> int:
    """Rates are judged by their inverse, a time, so that `slower` means worse for every metric."""
    return -1 if spec.better == "higher" else 1


def _differences(
    spec: MetricSpec, before: Sequence[float], after: Sequence[float], settings: CompareSettings
) -> MetricChange:
    n = min(len(before), len(after))
    if n < 2:
        plain = Estimate(value=sum(after) / len(after) - sum(before) / len(before), unit=spec.unit)
        return MetricChange(spec.name, "unclear", plain, "one launch a side has no interval")
    found = welch_difference(before, after)
    low, high = found.interval(settings.confidence)
    change = Estimate(value=found.mean, low=low, high=high, n=n, unit=spec.unit)
    if low > spec.tolerance or high < -spec.tolerance:
        judgement: Judgement = "worse" if (low > 0) == (spec.better == "lower") else "better"
        return MetricChange(spec.name, judgement, change, "the whole interval is beyond the tolerance")
    inside = -spec.tolerance <= low and high <= spec.tolerance
    return MetricChange(spec.name, "same" if inside else "unclear", change, "difference of means over launches")


def ratio_change(spec: MetricSpec, found: Comparison) -> MetricChange:
    """Turns a comparison of a quantity that should be low into a change of the metric itself."""
    sign = _sign(spec)
    ends = [None if end is None else end**sign - 1 for end in (found.low, found.high)]
    low, high = ends if sign > 0 else ends[::-1]
    change = Estimate(value=found.ratio**sign - 1, low=low, high=high, n=max(1, found.rounds), unit="1")
    reason = found.reason
    if spec.group not in ("time", "cold"):  # only times are slower; other metrics are worse
        reason = reason.replace("looks slower", "looks worse").replace("looks faster", "looks better")
    elif sign < 0 and reason[:1] in "+-0":  # the percentages in a rate's reason are those of its inverse
        reason = f"time per sample {reason}"
    return MetricChange(spec.name, _JUDGEMENTS[found.verdict], change, reason, found)
