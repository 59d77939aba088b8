"""Ratios of cases that took turns: the verdict, and whether another round would help."""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import CONTEST, ContestLevels, contest_levels, judged, paired_estimate
from gpubench.analysis.verdict.judge import Comparison
from gpubench.core.metrics import SESOI
from gpubench.core.records import ContestRecord, Estimate, Record
from gpubench.stats.estimators import rounds_needed
from gpubench.store.run_info import PlannedCase

SpeedVerdict = Literal["faster", "slower", "same", "unclear", "weakened"]
"""`faster`, `slower` and `same` are certain. `weakened`: a finding weakens a side."""
_WORDS: dict[str, SpeedVerdict] = {"slower": "faster", "faster": "slower", "same": "same", "unclear": "unclear"}
"""`judge` compares times, but a contest compares speeds."""


def met(one: CaseSummary, other: CaseSummary) -> ContestLevels | None:
    """The contest in which both cases took part; None if there is none."""
    found = one.contest
    if found is None or found is not other.contest:
        return None
    return found if found.log_ratios(one.planned.index, other.planned.index) else None


def paired_logs(pairs: Iterable[tuple[CaseSummary, CaseSummary]]) -> list[float]:
    """Log speed of the first over the second of each pair, averaged over the pairs, by round of their contests.

    Uses the rounds that all pairs have; none if a pair never met. Rounds of different contests are independent, so it
    does not matter which are averaged.
    """
    by_pair = []
    for one, other in pairs:
        contest = met(one, other)
        if contest is None:
            return []
        by_pair.append(contest.log_ratios(one.planned.index, other.planned.index))
    if not by_pair:
        return []
    rounds = sorted(set.intersection(*({*known} for known in by_pair)))
    return [math.fsum(known[number] for known in by_pair) / len(by_pair) for number in rounds]


def paired_twins(pairs: Iterable[tuple[CaseSummary, CaseSummary]]) -> list[float]:
    """The ratios of a case to itself in the contests of `paired_logs`."""
    contests = {id(contest): contest for pair in pairs if (contest := met(*pair)) is not None}
    return [twin for contest in contests.values() for twin in contest.twins]


def speed_verdict(log_ratios: Sequence[float], ratio: Estimate, twins: Sequence[float] = ()) -> SpeedVerdict:
    """The verdict on speed from the rounds of a contest and its twins; without any, from the interval of `ratio`, which
    is `same` if all of it is within the smallest effect of interest.
    """
    found = judged(log_ratios, twins)
    if found is not None:
        return _WORDS[found.verdict]
    if ratio.low is None or ratio.high is None:
        return "unclear"
    if ratio.low > 1 or ratio.high < 1:
        return "faster" if ratio.low > 1 else "slower"
    return "same" if ratio.low > 1 / (1 + SESOI) and ratio.high < 1 + SESOI else "unclear"


def still_wanted(
    cases: Sequence[PlannedCase], _launches: Sequence[Record], records: Sequence[ContestRecord]
) -> frozenset[int]:
    """Cases of a contest for which another round may help: those in an open pair that matters. If there is none, those
    in a settled pair whose interval is wider than the smallest effect of interest.

    Pairs that matter differ in one setting, or are the fastest and the second. A verdict settles a pair. It is hopeless
    if the largest effect its interval allows could not be found in the rounds of a contest.
    """
    levels = next(iter(contest_levels(records)), None)
    if levels is None:
        return frozenset(case.index for case in cases)
    found = {pair: list(levels.log_ratios(*pair).values()) for pair in _pairs(cases, levels)}
    wanted = [pair for pair, logs in found.items() if _is_open(judged(logs, levels.twins))]
    wanted = wanted or [pair for pair, logs in found.items() if _is_wide(logs, levels.twins)]
    return frozenset(case for pair in wanted for case in pair)


def _pairs(cases: Sequence[PlannedCase], levels: ContestLevels) -> list[tuple[int, int]]:
    alike = [
        (one.index, other.index)
        for one, other in combinations(cases, 2)
        if sum(one.settings.get(name) != value for name, value in other.settings.items()) == 1
    ]
    ranked = sorted(levels.standing, key=lambda case: -levels.standing[case])
    return [*alike, (ranked[0], ranked[1])] if len(ranked) > 1 else alike


def _is_open(found: Comparison | None) -> bool:
    if found is None or found.location is None:
        return True
    if found.verdict != "unclear" or found.rounds >= CONTEST.max_rounds or found.low is None or found.high is None:
        return found.verdict == "unclear" and found.rounds < CONTEST.max_rounds
    most = max(abs(math.log(found.low)), abs(math.log(found.high)), math.log1p(CONTEST.sesoi))
    spread = found.location.standard_error * math.sqrt(found.rounds)
    needed = rounds_needed(spread, most, CONTEST.schedule()[-1].alpha, power=0.5, trim=CONTEST.trim)
    return needed is not None and needed <= CONTEST.max_rounds


def _is_wide(logs: Sequence[float], twins: Sequence[float]) -> bool:
    found = judged(logs, twins)
    if found is None or found.verdict == "unclear" or len(logs) >= CONTEST.max_rounds:
        return False
    ratio = paired_estimate(logs)
    return ratio.low is not None and ratio.high is not None and ratio.high - ratio.low > 2 * CONTEST.sesoi * ratio.value
