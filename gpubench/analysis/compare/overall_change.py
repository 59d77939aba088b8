"""One figure for a whole comparison: the geometric mean of its ratios."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.summary.launch_estimates import from_location
from gpubench.analysis.verdict.judge import Level
from gpubench.core.records import Estimate
from gpubench.stats.estimators import Location

SPEED_METRICS = ("throughput", "latency_s", "step_time_s")
"""The speed of a case is the first of these that it has."""

LEVELS: tuple[Level, ...] = ("single", "stored", "launch", "block")
"""Weakest first."""


@dataclass(frozen=True)
class Overall:
    """Geometric mean of candidate over reference time, over `num_cases` cases; above 1 the candidate takes longer."""

    ratio: Estimate
    num_cases: int


def speed_change(change: CaseChange) -> MetricChange | None:
    """How the case's speed moved; None if it was not measured."""
    return next((change.changes[name] for name in SPEED_METRICS if name in change.changes), None)


def overall(changes: Iterable[CaseChange]) -> Overall | None:
    """Over every case whose speed was measured on both sides and is not INVALID; None without one.

    The cases are not a sample of something larger: the interval covers how well each ratio is known (their errors
    taken as independent), not how much they differ. There is none if any case has none.
    """
    moved = [found.comparison for change in changes if (found := speed_change(change)) is not None]
    known = [comparison for comparison in moved if comparison is not None and math.isfinite(comparison.ratio)]
    if not known:
        return None
    num = len(known)
    mean = sum(math.log(comparison.ratio) for comparison in known) / num
    parts = [comparison.location for comparison in known if comparison.location is not None]
    if len(parts) < num:
        return Overall(Estimate(value=math.exp(mean), n=num, unit="1"), num)
    # The mean of independent estimates; degrees of freedom by Welch and Satterthwaite.
    variances = [part.standard_error**2 for part in parts]
    total = sum(variances)
    df = total**2 / sum(v**2 / part.df for v, part in zip(variances, parts, strict=True)) if total else math.inf
    location = Location(mean, math.sqrt(total) / num, df)
    if num == 1:  # `from_location` takes n = 1 for a single launch
        low, high = (math.exp(end) for end in location.interval())
        return Overall(Estimate(value=math.exp(mean), low=low, high=high, n=1, unit="1"), 1)
    return Overall(from_location(location, num, "1", exponential=True), num)


def weakest_level(changes: Iterable[CaseChange]) -> Level | None:
    """The weakest level of all comparisons; None if nothing was compared as a ratio."""
    found = {
        moved.comparison.level
        for change in changes
        for moved in change.changes.values()
        if moved.comparison is not None and moved.comparison.level is not None
    }
    return min(found, key=LEVELS.index, default=None)
