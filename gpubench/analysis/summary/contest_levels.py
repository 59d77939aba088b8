"""Joins the processes of a contest: the speeds of its cases relative to each other, round by round."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios
from gpubench.analysis.verdict.judge import Comparison, located
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.core.records import ContestRecord, Estimate, Status, latest_contests
from gpubench.stats.estimators import bounded_exp

CONTEST = CompareSettings(alpha=0.01, looks=(3, 4, 6, 9, 12), max_rounds=12, trim=0.125, least_spread=0.008)
"""Each round is a new process. Fewer than eight rounds are not trimmed, which would hide their spread.

Without a least spread, two equal cases with two modes 3 % apart would differ in 2 % of contests: in three processes one
of them may be in the slower mode each time by chance.
"""


@dataclass(frozen=True)
class ContestLevels:
    """A contest with at least one complete process. `rounds`: log speed of each case relative to the first, by round.

    `twins`: log speed of the first case's second replica relative to the first, one per process. `threads`: the limit
    on CPU threads because other programs used the CPU (None: no limit).
    """

    label: str
    first: int
    rounds: dict[int, dict[int, float]]
    twins: tuple[float, ...]
    num_processes: int
    num_turns: int
    seconds: float
    threads: int | None = None

    @cached_property
    def cases(self) -> tuple[int, ...]:
        """Case indexes that have a level."""
        return tuple(sorted({case for levels in self.rounds.values() for case in levels}))

    @cached_property
    def standing(self) -> dict[int, float]:
        """Log speed of each case relative to the first, over its rounds."""
        return {
            case: math.fsum(known := [levels[case] for levels in self.rounds.values() if case in levels]) / len(known)
            for case in self.cases
        }

    def log_ratios(self, other: int, base: int) -> dict[int, float]:
        """Log of the speed of `other` over `base`, by round; empty if they never met."""
        return {
            number: levels[other] - levels[base]
            for number, levels in self.rounds.items()
            if other in levels and base in levels
        }

    @property
    def itself(self) -> Comparison | None:
        """The first case against itself (A/A), as a ratio of speeds: the machine's own error. None without a twin."""
        return judged(self.twins)


def contest_levels(records: Iterable[ContestRecord]) -> tuple[ContestLevels, ...]:
    """Every contest of a run, in the order of its first case."""
    by_first: dict[int, list[ContestRecord]] = {}
    for record in latest_contests(records):
        if record.status is Status.OK and record.cases[0] in record.log_speeds:
            by_first.setdefault(record.cases[0], []).append(record)
    return tuple(
        _levels(first, sorted(mine, key=lambda each: (each.round, each.part)))
        for first, mine in sorted(by_first.items())
    )


def _levels(first: int, records: Sequence[ContestRecord]) -> ContestLevels:
    rounds: dict[int, dict[int, float]] = {}
    for record in records:
        mine = rounds.setdefault(record.round, {})
        mine |= {case: speed - record.log_speeds[first] for case, speed in record.log_speeds.items()}
    return ContestLevels(
        label=records[0].label,
        first=first,
        rounds=rounds,
        twins=tuple(record.twin - record.log_speeds[first] for record in records if record.twin is not None),
        num_processes=len(records),
        num_turns=sum(record.num_turns or 0 for record in records),
        seconds=math.fsum(record.wall_s or 0.0 for record in records),
        threads=records[0].threads_asked,
    )


def judged(log_ratios: Sequence[float], twins: Sequence[float] = ()) -> Comparison | None:
    """`compare_log_ratios` by the rules of a contest. These are ratios of speed, so its `slower` means faster here.

    A difference whose interval holds that of `twins`, a case against itself in the same processes, is unclear:
    processes that follow each other can share an error, which their spread does not show. None without ratios.
    """
    if not log_ratios:
        return None
    found = compare_log_ratios(log_ratios, CONTEST)
    if found.verdict not in ("slower", "faster") or not twins or found.low is None or found.high is None:
        return found
    if not math.log(found.low) <= math.fsum(twins) / len(twins) <= math.log(found.high):
        return found
    return replace(found, verdict="unclear", reason="a case against itself differs as much")


def paired_estimate(log_ratios: Sequence[float]) -> Estimate:
    """The ratio over all rounds, with an interval at the level for a stop that depends on the data. ValueError without
    any.
    """
    if len(log_ratios) < 2:
        return Estimate(value=bounded_exp(log_ratios[0]), n=1, unit="1")
    found = located(log_ratios, CONTEST)
    low, high = found.interval(CONTEST.interval_level)
    return Estimate(
        value=bounded_exp(found.mean), low=bounded_exp(low), high=bounded_exp(high), n=len(log_ratios), unit="1"
    )
