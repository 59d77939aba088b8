"""Energy from power readings: the trapezoid rule, and when it can be trusted."""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from statistics import fmean, pstdev
from typing import NamedTuple

from gpubench.telemetry.window.counter_ticks import Curve, UncertainEnergy

AVERAGE_SPAN_S = 1.0
"""Field 185 is the mean of the last second (nvml.h)."""

SETTLED_S = 1.5
"""After this long under the same load, the one-second average shows nothing older."""

_SAME_LOAD = 0.05
_SENSOR_PERIOD_S = 0.1
_MOST_GAP_S = 1.0

_LEAST_COMPARED = 3

Reading = tuple[float, float]
"""(time in s, power in W)."""


def readings(points: Iterable[tuple[float, float, float]]) -> list[Reading]:
    """(time, watts) of (time, duration of the call, watts)."""
    return [(at_s, watts) for at_s, _, watts in points]


def power_at(series: list[Reading], at_s: float) -> float | None:
    """Power at `at_s`, linear between readings; None outside them or inside a gap of more than a second."""
    position = bisect_left(series, (at_s, -math.inf))
    if position < len(series) and series[position][0] == at_s:
        return series[position][1]
    if position == 0 or position == len(series):
        return None
    (before_s, before_w), (after_s, after_w) = series[position - 1], series[position]
    if after_s - before_s > _MOST_GAP_S:
        return None
    return before_w + (after_w - before_w) * (at_s - before_s) / (after_s - before_s)


def trapezoid(series: list[Reading], start_s: float, end_s: float) -> float | None:
    """Joules of [start_s, end_s]: every reading counts (equal ones too), the edges are interpolated.

    None if an edge is not covered, or readings are missing for more than a second.
    """
    first_w, last_w = power_at(series, start_s), power_at(series, end_s)
    if first_w is None or last_w is None:
        return None
    low, high = bisect_right(series, (start_s, math.inf)), bisect_left(series, (end_s, -math.inf))
    inside = [(start_s, first_w), *series[low:high], (end_s, last_w)]
    total_j = 0.0
    for (before_s, before_w), (after_s, after_w) in itertools.pairwise(inside):
        if after_s - before_s > _MOST_GAP_S:
            return None
        total_j += (before_w + after_w) / 2 * (after_s - before_s)
    return total_j


def running_energy(series: list[Reading]) -> list[tuple[float, float]]:
    """(time, joules since the first reading) by the trapezoid rule, restarted after a gap of more than a second."""
    points = [(at_s, 0.0) for at_s, _ in series[:1]]
    for (before_s, before_w), (after_s, after_w) in itertools.pairwise(series):
        if after_s - before_s > _MOST_GAP_S:
            points = [(after_s, 0.0)]
        else:
            points.append((after_s, points[-1][1] + (before_w + after_w) / 2 * (after_s - before_s)))
    return points


def swing(series: list[Reading], start_s: float, end_s: float) -> float:
    """Watts between the 5th and 95th percentile of readings in [start_s, end_s]; 0 without readings."""
    inside = sorted(watts for at_s, watts in series if start_s <= at_s <= end_s)
    left_out = len(inside) // 20
    return inside[-1 - left_out] - inside[left_out] if inside else 0.0


def settled(average: list[Reading], start_s: float) -> bool:
    """Whether the window's load had already run long enough before it.

    Then the one-second average just before `start_s` equals (within 5 %) that once it covers the window alone.
    """
    before = [watts for at_s, watts in average if start_s - 0.5 <= at_s <= start_s]
    after = [watts for at_s, watts in average if start_s + AVERAGE_SPAN_S <= at_s <= start_s + SETTLED_S + 0.1]
    if len(before) < 2 or not after:
        return False
    later_w = fmean(after)
    return all(abs(watts - later_w) <= _SAME_LOAD * later_w for watts in (before[0], before[-1], fmean(before)))


class AverageDeviation(NamedTuple):
    """Another source's ratio to the one-second average, minus one; and how much of it timing alone may explain."""

    difference: float
    uncertainty: float


def compare_with_average(
    average: list[Reading], curve: Curve, start_s: float, end_s: float, period_s: float | None
) -> AverageDeviation | None:
    """Compares the mean of the average's readings in [start_s, end_s] with `curve` over the second before each.

    A reading is half an update period old on average; the error from that grows with the difference in power between
    the ends. None with fewer than three readings to compare.
    """
    hold_s = 0.5 * (period_s or _SENSOR_PERIOD_S)
    pairs = []
    for at_s, watts in average:
        if start_s <= at_s <= end_s:
            energy_j = curve.between(at_s - hold_s - AVERAGE_SPAN_S, at_s - hold_s)
            if energy_j is not None:
                pairs.append((watts, energy_j / AVERAGE_SPAN_S))
    if len(pairs) < _LEAST_COMPARED:
        return None
    shown_w, expected_w = fmean(shown for shown, _ in pairs), fmean(expected for _, expected in pairs)
    if shown_w <= 0:
        return None
    moved_j = hold_s * abs(pairs[-1][1] - pairs[0][1])
    return AverageDeviation(expected_w / shown_w - 1, moved_j / ((end_s - start_s) * shown_w))


def average_energy(
    average: list[Reading], start_s: float, end_s: float, interval_s: float, period_s: float | None
) -> UncertainEnergy | None:
    """Integral of the one-second average.

    It lags by half its span, so the error is the difference in power between the second before the start and the one
    before the end; the sensor's hold and the reading interval add to it.
    """
    energy_j = trapezoid(average, start_s, end_s)
    first_w, last_w = power_at(average, start_s), power_at(average, end_s)
    if energy_j is None or first_w is None or last_w is None:
        return None
    mean_w = energy_j / (end_s - start_s)
    lag_j = 0.5 * AVERAGE_SPAN_S * abs(last_w - first_w)
    hold_j = mean_w * (0.5 * (period_s or _SENSOR_PERIOD_S) + 0.7 * interval_s)
    return UncertainEnergy(energy_j, lag_j + hold_j)


def instant_energy(
    instant: list[Reading], start_s: float, end_s: float, interval_s: float, period_s: float | None
) -> UncertainEnergy | None:
    """Integral of the instantaneous power, whose sensor sees only part of the time.

    The uncertainty is that of a random sample of the load; a load in step with the sensor can be much further off,
    which this sensor alone cannot show.
    """
    energy_j = trapezoid(instant, start_s, end_s)
    if energy_j is None:
        return None
    inside = [watts for at_s, watts in instant if start_s <= at_s <= end_s]
    period_s = max(period_s or _SENSOR_PERIOD_S, interval_s)
    span_s = end_s - start_s
    spread_w = pstdev(inside) if len(inside) > 1 else 0.0
    sampling_j = 2 * spread_w * math.sqrt(span_s * period_s)
    hold_j = energy_j / span_s * (period_s + 0.7 * interval_s)
    return UncertainEnergy(energy_j, sampling_j + hold_j)
