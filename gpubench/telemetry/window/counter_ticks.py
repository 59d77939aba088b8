"""Energy at an instant, from a counter that is updated periodically and read periodically.

A counter read every dt seconds changes every T_u. A change shows between two reads, so the moment of the update is
known to within half the interval of these reads. Energy at an edge is interpolated between the updates around it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

_MOST_W = 5_000.0
"""Watts; more than any card, module or CPU package draws."""

_SLOWEST_UPDATE_S = 5.0
"""Longest time that one update may cover while the counter's own period is unknown."""

Point = tuple[float, float, float]
"""(time before the call in s, how long the call took in s, value)."""


class Tick(NamedTuple):
    """An update of the counter: when (± `half_width_s`), and its new value. Units: s, s, J."""

    at_s: float
    half_width_s: float
    energy_j: float


class Edge(NamedTuple):
    """Energy at one edge of a window, on a straight line between the updates around it, `width_s` apart.

    If power swings by dP between them, the true energy is at most `lever_s` dP away; `spread_w` is the dP that the
    updates show. `timing_j` is the error from not knowing when the updates happened. Units: J, s, W.
    """

    energy_j: float
    lever_s: float
    spread_w: float
    timing_j: float
    width_s: float


class Unwrapped(NamedTuple):
    """Counter readings with wraps undone. `reset_at_s`: time of the first that went backwards, if any."""

    points: list[Point]
    num_wraps: int
    reset_at_s: float | None


def unwrap(
    points: Iterable[Point],
    since_s: float = -math.inf,
    *,
    wrap_j: float | None = 2**32 / 1000,
    update_period_s: float | None = None,
) -> Unwrapped:
    """Undoes wraps at `wrap_j`; any other step backwards is a reset.

    A reset before `since_s` drops the readings before it, a later one ends the series. A wrap is believed only if it
    implies a possible power: a reset from a high value looks like a wrap at an absurd power. A step forwards that no
    card could make is a misread value and left out.
    """
    kept: list[Point] = []
    offset_j, num_wraps = 0.0, 0
    late_s = _SLOWEST_UPDATE_S if update_period_s is None else max(1.0, 3 * update_period_s)
    for at_s, took_s, value_j in points:
        now_j = value_j + offset_j
        if kept:
            most_j = kept[-1][2] + _MOST_W * (at_s + took_s - kept[-1][0] + late_s)
            if now_j > most_j:
                continue
            if now_j < kept[-1][2] - 1e-6:
                if wrap_j is not None and kept[-1][2] <= now_j + wrap_j <= most_j:
                    offset_j += wrap_j
                    num_wraps += 1
                elif at_s < since_s:
                    kept, offset_j, num_wraps = [], 0.0, 0
                else:
                    return Unwrapped(kept, num_wraps, at_s)
        kept.append((at_s, took_s, value_j + offset_j))
    return Unwrapped(kept, num_wraps, None)


def find_ticks(points: list[Point], update_period_s: float | None = None) -> list[Tick]:
    """The updates seen between consecutive reads, placed in the middle of the possible interval.

    The update was after the earlier read began and before the later one ended; if the counter updates more often than
    it is read (or a call took long), the last update was at most one period before the later read.
    """
    ticks = []
    for (before_s, _, before_j), (after_s, took_s, after_j) in pairwise(points):
        if after_j == before_j:
            continue
        low_s = before_s if update_period_s is None else max(before_s, after_s - update_period_s)
        high_s = after_s + took_s
        ticks.append(Tick((low_s + high_s) / 2, (high_s - low_s) / 2, after_j))
    return ticks


def energy_at(ticks: list[Tick], at_s: float) -> Edge | None:
    """Energy at `at_s`; None if it is not between two updates."""
    position = bisect_right(ticks, at_s, key=lambda tick: tick.at_s)
    if position == 0 or position == len(ticks):
        return None
    left, right = ticks[position - 1], ticks[position]
    width_s = right.at_s - left.at_s
    share = (at_s - left.at_s) / width_s
    around = ticks[max(0, position - 2) : position + 2]
    near_w = [(after.energy_j - before.energy_j) / (after.at_s - before.at_s) for before, after in pairwise(around)]
    inside_w = (right.energy_j - left.energy_j) / width_s
    timing_j = inside_w * ((1 - share) * left.half_width_s + share * right.half_width_s)
    energy_j = left.energy_j + inside_w * (at_s - left.at_s)
    return Edge(energy_j, share * (1 - share) * width_s, max(near_w) - min(near_w), timing_j, width_s)


class UncertainEnergy(NamedTuple):
    """Energy of a stretch of time with its uncertainty. Units: J."""

    energy_j: float
    uncertainty_j: float


def energy_between(
    ticks: list[Tick], start_s: float, end_s: float, update_period_s: float, swing_w: float = 0.0
) -> UncertainEnergy | None:
    """Energy of [start_s, end_s]; None if an edge is not between two updates.

    The uncertainty has two parts: when the updates happened, independent at the two edges; and a quarter of the time
    between updates at mean power, or more if the load varies more. If power differs around the edges, both may err the
    same way (a load that starts and ends with the window). If it only swings, by `swing_w` from another source, they
    err independently (a load in step with the updates looks steady in them).
    """
    start, end = energy_at(ticks, start_s), energy_at(ticks, end_s)
    if start is None or end is None or end_s <= start_s:
        return None
    energy_j = end.energy_j - start.energy_j
    least_j = 0.25 * max(update_period_s, start.width_s, end.width_s) * energy_j / (end_s - start_s)
    stepping_j = start.lever_s * start.spread_w + end.lever_s * end.spread_w
    swinging_j = math.hypot(start.lever_s, end.lever_s) * swing_w
    shape_j = max(least_j, math.hypot(stepping_j, swinging_j))
    return UncertainEnergy(energy_j, shape_j + math.hypot(start.timing_j, end.timing_j))


class Curve:
    """A piecewise linear quantity through points (time in s, joules or seconds), for many look-ups."""

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        pairs = list(points)
        self._times_s = [at_s for at_s, _ in pairs]
        self._energies_j = [energy_j for _, energy_j in pairs]

    def at(self, at_s: float) -> float | None:
        """The value at `at_s`; None outside the points."""
        right = bisect_left(self._times_s, at_s)
        if right < len(self._times_s) and self._times_s[right] == at_s:
            return self._energies_j[right]
        if right == 0 or right == len(self._times_s):
            return None
        left = right - 1
        share = (at_s - self._times_s[left]) / (self._times_s[right] - self._times_s[left])
        return self._energies_j[left] + share * (self._energies_j[right] - self._energies_j[left])

    def between(self, start_s: float, end_s: float) -> float | None:
        """The increase over [start_s, end_s]; None if an edge is outside the points."""
        start_j, end_j = self.at(start_s), self.at(end_s)
        return None if start_j is None or end_j is None else end_j - start_j
