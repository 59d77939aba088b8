"""The best settings and what they gain: data for the first lines of a report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.launch_estimates import from_location, geometric_estimate
from gpubench.core.findings import Validity
from gpubench.core.records import Estimate, Status
from gpubench.stats.estimators import Location, welch_difference
from gpubench.suite.select.patterns import matches


@dataclass(frozen=True)
class Best:
    """The fastest case among those that share workload, mode, device, timing and precision (and, for latency, the
    batch).

    `won` is True where it is VALID and its output passed its check. Where no case is, the fastest of the rest stands
    here with `won` False and `why_not` saying what keeps it from being called best.
    """

    summary: CaseSummary
    won: bool
    why_not: str | None
    num_candidates: int

    @property
    def precision(self) -> str:
        return self.summary.case.precision


@dataclass(frozen=True)
class Gain:
    """The best of one precision against the best of the cases that match the suite's `baseline`; above 1 is faster."""

    best: Best
    baseline: Best
    ratio: Estimate


def speed_metric(summary: CaseSummary) -> str:
    """`throughput`, or `latency_s` for synchronised requests, which are never ranked with it."""
    return "latency_s" if summary.case.timing == "latency" else "throughput"


def speed(summary: CaseSummary) -> float | None:
    """Samples per second, or requests per second for latency timing; None without a figure."""
    found = summary.metrics.get(speed_metric(summary))
    if found is None or found.value <= 0:
        return None
    return 1 / found.value if summary.case.timing == "latency" else found.value


def best_settings(summaries: Iterable[CaseSummary]) -> tuple[Best, ...]:
    """One `Best` per workload, mode, device, timing and precision (latency: and batch size), in the order met."""
    groups: dict[tuple[Any, ...], list[CaseSummary]] = {}
    for entry in summaries:
        if entry.status is Status.OK and entry.validity is not Validity.INVALID and speed(entry) is not None:
            groups.setdefault(_contest(entry), []).append(entry)
    return tuple(_best(group) for group in groups.values())


def best_overall(bests: Iterable[Best]) -> tuple[Best, ...]:
    """The fastest precision of each workload, mode, device and timing; a winner goes before any that did not win."""
    groups: dict[tuple[Any, ...], list[Best]] = {}
    for entry in bests:
        case = entry.summary.case
        batch = case.batch_size if case.timing == "latency" else None
        groups.setdefault((case.workload, case.mode, case.device, case.timing, batch), []).append(entry)
    return tuple(max(group, key=lambda best: (best.won, speed(best.summary) or 0.0)) for group in groups.values())


def gains(bests: Sequence[Best], baseline: Mapping[str, Any]) -> tuple[Gain, ...]:
    """Each best against the best that matches `baseline` in the same workload, mode and timing. Best against best:
    a baseline at a poor batch size would flatter the rest. Empty for an empty baseline.
    """
    found = []
    for best in bests:
        against = _baseline_of(best, bests, baseline)
        ratio = speedup(best.summary, against.summary) if against is not None and against is not best else None
        if against is not None and ratio is not None:
            found.append(Gain(best, against, ratio))
    return tuple(found)


def speedup(summary: CaseSummary, baseline: CaseSummary) -> Estimate | None:
    """How many times faster `summary` is than `baseline`: exp of the mean log ratio, with its 95 % interval.

    Paired by repeat where both have the same repeats (launches of one round share the state of the machine), else
    Welch. No interval from a single launch a side. None where either has no figure or their timing differs.
    """
    metric = speed_metric(summary)
    if metric != speed_metric(baseline):
        return None
    ours, theirs = _logs(summary, metric), _logs(baseline, metric)
    if not ours or not theirs:
        return None
    if ours.keys() == theirs.keys():
        return geometric_estimate([ours[repeat] - theirs[repeat] for repeat in ours], "1")
    first, second = list(theirs.values()), list(ours.values())
    n = min(len(first), len(second))
    if n < 2:
        alone = Location(sum(second) / len(second) - sum(first) / len(first), math.nan, 0)
        return from_location(alone, 1, "1", exponential=True)
    return from_location(welch_difference(first, second), n, "1", exponential=True)


def _logs(summary: CaseSummary, metric: str) -> dict[int, float]:
    sign = -1 if metric == "latency_s" else 1
    return {repeat: sign * math.log(value) for repeat, value in summary.launch_values(metric).items() if value > 0}


def _contest(summary: CaseSummary) -> tuple[Any, ...]:
    case = summary.case
    batch = case.batch_size if case.timing == "latency" else None
    return case.workload, case.mode, case.device, case.timing, case.precision, batch


def _may_win(summary: CaseSummary) -> bool:
    return summary.validity is Validity.VALID and summary.correctness == "pass"


def _best(group: Sequence[CaseSummary]) -> Best:
    winners = [entry for entry in group if _may_win(entry)]
    fastest = max(winners or group, key=lambda entry: speed(entry) or 0.0)
    return Best(fastest, bool(winners), None if winners else _why_not(fastest), len(group))


def _why_not(summary: CaseSummary) -> str:
    if summary.correctness == "unverified":
        return "its output was not verified"
    weak = [entry.message for entry in summary.findings if entry.effect != "none"]
    return weak[0] if weak else "its output failed the check"


def _baseline_of(best: Best, bests: Sequence[Best], baseline: Mapping[str, Any]) -> Best | None:
    if not baseline:
        return None
    ours = best.summary.case
    fits = [
        other
        for other in bests
        if matches(other.summary.case.settings, baseline)
        and (other.summary.case.workload, other.summary.case.mode, other.summary.case.timing)
        == (ours.workload, ours.mode, ours.timing)
        and (ours.timing == "throughput" or other.summary.case.batch_size == ours.batch_size)
    ]
    return max(fits, key=lambda other: (other.won, speed(other.summary) or 0.0)) if fits else None
