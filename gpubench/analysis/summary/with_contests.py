"""Gives cases the contest they took part in, and what it says about their launches."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import ContestLevels, paired_estimate
from gpubench.analysis.summary.launch_estimates import from_location, mean_difference
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Estimate
from gpubench.core.units import format_percent

_LEAST_ROUNDS = 3


def with_contests(cases: Iterable[CaseSummary], contests: Sequence[ContestLevels]) -> tuple[CaseSummary, ...]:
    """The same cases; those in a contest get it, their speed in it, and findings if it contradicts their launches."""
    cases = tuple(cases)
    if not contests:
        return cases
    by_index = {entry.planned.index: entry for entry in cases}
    of = {index: contest for contest in contests for index in contest.cases}
    offsets = {contest.first: _offset(contest, by_index) for contest in contests}
    found = []
    for entry in cases:
        contest = of.get(entry.planned.index)
        if contest is None:
            found.append(entry)
            continue
        offset = offsets[contest.first]
        speed = None if offset is None else math.exp(offset + contest.standing[entry.planned.index])
        more = _findings(entry, by_index.get(contest.first), contest)
        found.append(replace(entry, contest=contest, contest_speed=speed, findings=(*entry.findings, *more)))
    return tuple(found)


def _offset(contest: ContestLevels, cases: Mapping[int, CaseSummary]) -> float | None:
    """The offset from a contest's levels to log speeds in launches: the median over its cases. None if none has a
    speed.
    """
    known = [
        math.log(speed) - level
        for index, level in contest.standing.items()
        if index in cases and (speed := cases[index].speed) is not None
    ]
    return median(known) if known else None


def _findings(entry: CaseSummary, first: CaseSummary | None, contest: ContestLevels) -> list[Finding]:
    """Findings: for the contest's first case about its twin, for others about their ratio to it."""
    if first is None:
        return []
    if entry.planned.index == contest.first:
        itself = contest.itself
        if itself is None or itself.verdict not in ("slower", "faster"):
            return []
        apart = format_percent(itself.ratio - 1, signed=True)
        return [
            finding(
                "GB602",
                f"Two copies of it differed by {apart} in {itself.rounds} processes.",
                ratio=itself.ratio,
                rounds=itself.rounds,
            )
        ]
    logs = list(contest.log_ratios(entry.planned.index, first.planned.index).values())
    in_launches = launch_ratio(entry, first)
    if len(logs) < _LEAST_ROUNDS or in_launches is None or in_launches.low is None or in_launches.high is None:
        return []
    in_turn = paired_estimate(logs)
    assert in_turn.low is not None and in_turn.high is not None, "three rounds have an interval"  # noqa: PT018
    if in_turn.low <= in_launches.high and in_launches.low <= in_turn.high:
        return []
    threads = "" if contest.threads is None else f" The contest used {contest.threads} CPU thread(s), launches all."
    return [
        finding(
            "GB601",
            f"{_said(in_turn)} times as fast as {first.label} taking turns, {_said(in_launches)} in launches.{threads}",
            contest=in_turn.value,
            launches=in_launches.value,
        )
    ]


def _said(ratio: Estimate) -> str:
    return f"{ratio.value:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"


def launch_ratio(entry: CaseSummary, other: CaseSummary) -> Estimate | None:
    """How many times as fast `entry` is in launches, paired by repeat if possible. None without figures."""
    if entry.speed_metric != other.speed_metric:
        return None
    ours, theirs = entry.log_speeds, other.log_speeds
    return from_location(*mean_difference(ours, theirs), "1", exponential=True) if ours and theirs else None
