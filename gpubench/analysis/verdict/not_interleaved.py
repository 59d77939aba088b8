"""Compares runs that were not interleaved."""

import math
from collections.abc import Sequence
from dataclasses import replace

from gpubench.analysis.verdict.judge import Comparison, Verdict
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.core.units import format_percent
from gpubench.stats.estimators import Location, bounded_exp, welch_difference

MIN_LAUNCHES = 3
NOT_INTERLEAVED = "not interleaved"
ONE_PROCESS = "one launch a side says nothing about how much launches differ"

_NORMAL_95 = 1.959964


def compare_stored(
    reference: Sequence[float],
    candidate: Sequence[float],
    settings: CompareSettings | None = None,
    *,
    allow_unpaired: bool = False,
) -> Comparison:
    """Judge two stored runs from the median step time, in seconds, of each of their launches.

    Welch's test on logs, launches as the units. Two sessions on one machine differ by 1 % or more even if nothing
    changed, which no test on these data can detect. So `slower` and `faster` need `allow_unpaired`, else the verdict is
    `unclear` with the reason "not interleaved". Fewer than three launches per side give no verdict, and a single one no
    interval. `rounds` is the smaller number of launches. ValueError for an empty side, or a time that is not finite and
    positive.
    """
    chosen = settings or CompareSettings()
    first, second = _logs(reference), _logs(candidate)
    launches = min(len(first), len(second))
    if launches < 2:
        mean = sum(second) / len(second) - sum(first) / len(first)
        return Comparison("unclear", bounded_exp(mean), None, None, launches, ONE_PROCESS, chosen, level="stored")
    judged = _judged(welch_difference(first, second), launches, chosen)
    if judged.verdict in ("slower", "faster") and not allow_unpaired:
        reason = f"{NOT_INTERLEAVED}: looks {judged.verdict}, but so would another session of the same"
        return replace(judged, verdict="unclear", reason=reason)
    return judged


def compare_single(
    reference: float,
    candidate: float,
    intervals: tuple[tuple[float, float], tuple[float, float]],
    settings: CompareSettings | None = None,
    *,
    allow_unpaired: bool = False,
) -> Comparison:
    """Judge one process per side from its time and the 95 % interval from its own steps, in the same unit.

    The intervals are too narrow, because they do not include differences between processes: a verdict needs
    `allow_unpaired`. The ends of each interval may be of the time or its inverse, in any order. ValueError for a value
    that is not finite and positive.
    """
    chosen = settings or CompareSettings()
    (first,), (second,) = _logs([reference]), _logs([candidate])
    errors = [abs(end - start) / 2 / _NORMAL_95 for start, end in (_logs(ends) for ends in intervals)]
    found = Location(second - first, math.hypot(*errors), math.inf)
    judged = replace(_judged(found, MIN_LAUNCHES, chosen), rounds=1, level="single")
    if not allow_unpaired:
        return replace(judged, verdict="unclear", reason=ONE_PROCESS)
    return replace(
        judged, reason=f"{judged.reason}; one process a side, how much processes differ is not in the interval"
    )


def _logs(times: Sequence[float]) -> list[float]:
    if not times or not all(math.isfinite(t) and t > 0 for t in times):
        raise ValueError("each side needs launches with finite, positive times in seconds")
    return [math.log(t) for t in times]


def _judged(found: Location, launches: int, settings: CompareSettings) -> Comparison:
    limit, p_value = math.log1p(settings.sesoi), found.p_value()
    low, high = found.interval(settings.confidence)
    verdict: Verdict = "unclear"
    if launches < MIN_LAUNCHES:
        reason = f"a verdict needs at least {MIN_LAUNCHES} launches a side"
    elif p_value <= settings.alpha and abs(found.mean) >= limit / 2:
        verdict, reason = ("slower" if found.mean > 0 else "faster"), f"significant (p = {p_value:.2g})"
    elif -limit < low and high < limit:
        verdict, reason = "same", f"the whole interval lies inside ±{format_percent(settings.sesoi)}"
    else:
        reason = f"not significant, and a change of {format_percent(settings.sesoi)} is not ruled out"
    ends = (bounded_exp(found.mean), bounded_exp(low), bounded_exp(high))
    bare = Comparison(verdict, *ends, launches, reason, settings, p_value=p_value, alpha=settings.alpha)
    return replace(bare, level="stored", location=found)
