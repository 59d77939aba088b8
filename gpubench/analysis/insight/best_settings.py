"""The best settings, and speed ratios between cases."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.insight.paired_ratios import SpeedVerdict, paired_logs, paired_twins, speed_verdict
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import paired_estimate
from gpubench.analysis.summary.with_contests import launch_ratio
from gpubench.core.records import Estimate
from gpubench.stats.estimators import bounded_exp
from gpubench.suite.model.case import Case
from gpubench.suite.select.patterns import matches


@dataclass(frozen=True)
class Best:
    """The fastest of the cases with the same workload, mode, device, timing and precision (for latency, also batch).

    `won`: it is VALID (or took turns with the others) and its output passed the check. If there is no such case, this
    is the fastest of the rest, with `won` False and the reason in `why_not`.
    """

    summary: CaseSummary
    won: bool
    why_not: str | None

    @property
    def precision(self) -> str:
        return self.summary.case.precision


@dataclass(frozen=True)
class SpeedRatio:
    """How many times as fast one case is as another, with the verdict."""

    ratio: Estimate
    verdict: SpeedVerdict

    @property
    def certain(self) -> bool:
        return self.verdict in ("faster", "slower")


@dataclass(frozen=True)
class Gain:
    """The best of one precision against another best, for example of those that match the suite's `baseline`."""

    best: Best
    baseline: Best
    found: SpeedRatio


def best_settings(summaries: Iterable[CaseSummary]) -> tuple[Best, ...]:
    """One `Best` per workload, mode, device, timing and precision (latency: and batch size), in order of appearance."""
    groups: dict[tuple[Any, ...], list[CaseSummary]] = {}
    for entry in summaries:
        if entry.usable and entry.speed is not None:
            groups.setdefault((*_contest(entry.case), entry.case.precision), []).append(entry)
    found = []
    for group in groups.values():
        winners = [entry for entry in group if entry.may_win]
        fastest = max(winners or group, key=lambda entry: entry.rank_speed or 0.0)
        weak = [entry.message for entry in fastest.findings if entry.effect != "none"]
        why_not = weak[0] if weak else "its output failed the check"
        if fastest.correctness == "unverified":
            why_not = "its output was not verified"
        found.append(Best(fastest, bool(winners), None if winners else why_not))
    return tuple(found)


def best_overall(bests: Iterable[Best]) -> tuple[Best, ...]:
    """The fastest precision of each workload, mode, device and timing; winners come before cases that did not win."""
    groups: dict[tuple[Any, ...], list[Best]] = {}
    for entry in bests:
        groups.setdefault(_contest(entry.summary.case), []).append(entry)
    return tuple(max(group, key=_rank) for group in groups.values())


def gains(bests: Sequence[Best], baseline: Mapping[str, Any]) -> tuple[Gain, ...]:
    """Each best against the best that matches `baseline` in the same workload, mode and timing.

    It compares best with best, because a baseline at a poor batch size would flatter the rest. Empty for an empty
    baseline.
    """
    found = []
    matching = [other for other in bests if matches(other.summary.case.settings, baseline)] if baseline else []
    for best in bests:
        ours = best.summary.case
        same = ("workload", "mode", "timing", *(("batch_size",) if ours.timing == "latency" else ()))
        fits = [other for other in matching if all(getattr(other.summary.case, n) == getattr(ours, n) for n in same)]
        against = max(fits, key=_rank, default=best)
        gain = None if against is best else gain_over(best, against)
        found += [gain] if gain is not None else []
    return tuple(found)


def gain_over(best: Best, baseline: Best) -> Gain | None:
    """The gain of one best over another; None if they cannot be compared."""
    found = compared(best.summary, baseline.summary)
    return None if found is None else Gain(best, baseline, found)


def compared(summary: CaseSummary, baseline: CaseSummary) -> SpeedRatio | None:
    """`speedup` with its verdict, from the contest if both met in one, else from the interval over launches."""
    ratio = speedup(summary, baseline)
    if ratio is None:
        return None
    sound = summary.comparable and baseline.comparable
    pairs = [(summary, baseline)]
    verdict = speed_verdict(paired_logs(pairs), ratio, paired_twins(pairs)) if sound else "weakened"
    return SpeedRatio(ratio, verdict)


def speedup(summary: CaseSummary, baseline: CaseSummary) -> Estimate | None:
    """How many times faster `summary` is than `baseline`: exp of the mean log ratio, with its 95 % interval.

    From the contest in which both took turns, or else from launches: paired by repeat if both have the same repeats
    (launches of one round share the machine's state), else by Welch. No interval from a single launch per side. None if
    either has no figure or their timing differs.
    """
    logs = paired_logs([(summary, baseline)])
    return paired_estimate(logs) if logs else launch_ratio(summary, baseline)


def speed_ratio(summary: CaseSummary, baseline: CaseSummary) -> float | None:
    """The value of `speedup` without its interval, for tens of thousands of pairs."""
    ours, theirs = summary.log_speeds, baseline.log_speeds
    in_launches = summary.contest is None and summary.speed_metric == baseline.speed_metric
    if in_launches and ours and ours.keys() == theirs.keys():
        return bounded_exp(math.fsum(ours[repeat] - theirs[repeat] for repeat in ours) / len(ours))
    found = speedup(summary, baseline)
    return None if found is None else found.value


def _contest(case: Case) -> tuple[Any, ...]:
    """Cases are ranked only among those with equal values of these."""
    return case.workload, case.mode, case.device, case.timing, case.batch_size if case.timing == "latency" else None


def _rank(best: Best) -> tuple[bool, float]:
    return best.won, best.summary.rank_speed or 0.0
