"""Finds out whether the launches of a case have two modes."""

import math
from collections.abc import Sequence
from statistics import mean

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Record
from gpubench.core.units import format_percent

LEAST_LAUNCHES = 6
LEAST_APART = 0.02
_LEAST_OF_EACH = 2
_TIMES_WITHIN = 3.0


def split_levels(values: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """Two groups of values (logs), the lower first, if the widest gap is at least 2 % and three times the span of
    either group.

    None for fewer than six values, or if a group would have one. In values from one normal distribution it finds two
    groups in less than 1 % of cases.
    """
    ordered = sorted(values)
    if len(ordered) < LEAST_LAUNCHES:
        return None
    at = max(range(1, len(ordered)), key=lambda place: ordered[place] - ordered[place - 1])
    low, high = ordered[:at], ordered[at:]
    gap = high[0] - low[-1]
    spans = max(low[-1] - low[0], high[-1] - high[0])
    if min(len(low), len(high)) < _LEAST_OF_EACH or gap < LEAST_APART or gap < _TIMES_WITHIN * spans:
        return None
    return low, high


def two_levels(ok: Sequence[Record]) -> Finding | None:
    """GB212 if step times of launches have two levels."""
    found = split_levels([math.log(record.series.median_s) for record in ok if record.series is not None])
    if found is None:
        return None
    low, high = found
    apart = math.expm1(mean(high) - mean(low))
    return finding(
        "GB212",
        f"Two levels, {format_percent(apart)} apart: {len(low)} launches at {math.exp(mean(low)) * 1e3:.3g} ms a step, "
        f"{len(high)} at {math.exp(mean(high)) * 1e3:.3g} ms.",
        apart=apart,
        launches=[len(low), len(high)],
    )
