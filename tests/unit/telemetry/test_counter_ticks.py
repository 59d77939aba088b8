"""The estimator alone, on simulated counters: no NVML, no clock."""

import bisect
import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from gpubench.telemetry.devices.periods import mean_period_s
from gpubench.telemetry.window.counter_ticks import Curve, Tick, energy_at, energy_between, find_ticks, unwrap

Energy = Callable[[float], float]


def energy_of(segments: list[tuple[float, float]]) -> Energy:
    """The integral of a load given as (time, watts from then on)."""
    times = [at_s for at_s, _ in segments]
    sums = [0.0]
    for (start_s, watts), (end_s, _) in pairwise(segments):
        sums.append(sums[-1] + watts * (end_s - start_s))

    def energy(at_s: float) -> float:
        position = max(0, bisect.bisect_right(times, at_s) - 1)
        return sums[position] + segments[position][1] * (at_s - times[position])

    return energy


def steady(rng: random.Random, start_s: float, end_s: float) -> Energy:
    return energy_of([(-60.0, 75.0), (start_s - 5, rng.uniform(200, 700)), (end_s + 5, 75.0)])


def starts_with_the_window(rng: random.Random, start_s: float, end_s: float) -> Energy:
    return energy_of([(-60.0, 75.0), (start_s, rng.uniform(200, 700)), (end_s, 75.0)])


def alternates(rng: random.Random, start_s: float, end_s: float) -> Energy:
    """Steps of a training run: 30 to 500 ms, high and low in turn, running before and after the window."""
    high, period_s, duty = rng.uniform(300, 700), rng.uniform(0.03, 0.5), rng.uniform(0.3, 0.9)
    low, at_s = rng.uniform(100, high), start_s - 5 - rng.uniform(0, period_s)
    segments = [(-60.0, 75.0)]
    while at_s < end_s + 3:
        segments += [(at_s, high), (at_s + duty * period_s, low)]
        at_s += period_s
    return energy_of(segments)


def read(
    energy: Energy, start_s: float, end_s: float, *, update_s: float, interval_s: float, rng: random.Random
) -> list[tuple[float, float, float]]:
    """A counter updated every `update_s`, read every `interval_s`, both at a random phase; calls take up to 1 ms."""
    phase_s, at_s = rng.uniform(0, update_s), start_s - 1 - 3 * update_s + rng.uniform(0, interval_s)
    points = []
    while at_s < end_s + 1 + 3 * update_s:
        took_s = rng.uniform(20e-6, 1e-3)
        read_s = at_s + took_s * rng.random()
        updated_s = math.floor((read_s - phase_s) / update_s) * update_s + phase_s
        points.append((at_s, took_s, math.floor(energy(updated_s) * 1000) / 1000))
        at_s += interval_s
    return points


LOADS = [steady, starts_with_the_window, alternates]


@pytest.mark.parametrize("update_s", [0.02, 0.04, 0.07, 0.09, 0.1, 0.25, 0.9])
@pytest.mark.parametrize("load", LOADS)
def test_truth_lies_inside_the_stated_uncertainty_in_95_percent_of_200_phases_and_within_2_percent_at_the_least_window(
    load: Callable[[random.Random, float, float], Energy], update_s: float
) -> None:
    rng = random.Random(f"{load.__name__} {update_s}")
    window_s = max(3.0, 30 * update_s)
    errors, covered = [], 0
    for _ in range(200):
        start_s = 10 + rng.random()
        end_s = start_s + window_s
        energy = load(rng, start_s, end_s)
        points = read(energy, start_s, end_s, update_s=update_s, interval_s=0.05, rng=rng)
        found = energy_between(find_ticks(points, update_s), start_s, end_s, update_s)
        assert found is not None
        truth = energy(end_s) - energy(start_s)
        errors.append(abs(found.energy_j / truth - 1))
        covered += abs(found.energy_j - truth) <= found.uncertainty_j
    assert covered >= 190
    assert max(errors) <= 0.02


def test_a_steady_load_is_exact_however_the_updates_fall() -> None:
    ticks = [Tick(0.1 * i, 0.025, 50.0 * i) for i in range(30)]
    found = energy_between(ticks, 0.512, 2.473, 0.1)
    assert found is not None
    assert found.energy_j == pytest.approx(500 * (2.473 - 0.512))


def test_uncertainty_of_a_steady_load_is_the_documented_edge_term() -> None:
    ticks = [Tick(0.1 * i, 0.025, 50.0 * i) for i in range(40)]
    found = energy_between(ticks, 0.25, 3.25, 0.1)
    assert found is not None
    # 0.25 periods of shape, and sqrt(2) half-brackets of timing, over 3 s.
    assert found.uncertainty_j / found.energy_j == pytest.approx((0.25 * 0.1 + math.sqrt(2) * 0.025) / 3.0)


@pytest.mark.parametrize("step_s", [1.0, 1.02, 1.05, 1.09])
def test_a_step_inside_the_bracket_is_covered_by_what_the_edge_says_wherever_it_is(step_s: float) -> None:
    """Power steps from 100 to 500 W somewhere between the updates at 1.0 and 1.1; the edge lies at 1.03."""
    energy = energy_of([(0.0, 100.0), (step_s, 500.0), (2.0, 500.0)])
    ticks = [Tick(0.1 * i, 0.0, energy(0.1 * i)) for i in range(18)]
    edge = energy_at(ticks, 1.03)
    assert edge is not None
    assert edge.energy_j == pytest.approx(100 + 0.3 * (energy(1.1) - energy(1.0)))
    assert abs(edge.energy_j - energy(1.03)) <= edge.lever_s * edge.spread_w + 1e-9


def test_a_load_in_step_with_the_updates_is_covered_by_its_swing() -> None:
    """700 W and 100 W for half a period each, a counter that is updated once a period: every slope is 400 W."""
    ticks = [Tick(0.1 * i, 0.0, 40.0 * i) for i in range(60)]
    start_s, end_s = 1.05, 4.5
    energy = energy_of([step for i in range(60) for step in ((0.1 * i, 700.0), (0.1 * i + 0.05, 100.0))])
    blind, seen = (energy_between(ticks, start_s, end_s, 0.1, swing_w) for swing_w in (0.0, 600.0))
    assert blind is not None
    assert seen is not None
    error_j = abs(seen.energy_j - (energy(end_s) - energy(start_s)))
    assert error_j == pytest.approx(15.0)
    assert blind.uncertainty_j < error_j <= seen.uncertainty_j + 1e-9


def test_where_readings_come_less_often_than_updates_their_distance_counts() -> None:
    """Updated every 10 ms and read every 50 ms: the counter's own period says nothing about the edges."""
    ticks = [Tick(0.05 * i, 0.005, 20.0 * i) for i in range(90)]
    found = energy_between(ticks, 0.52, 3.52, 0.01)
    assert found is not None
    assert found.uncertainty_j >= 0.25 * 0.05 * 400


def test_an_edge_outside_the_updates_has_no_energy() -> None:
    ticks = [Tick(0.1 * i, 0.0, 10.0 * i) for i in range(5)]
    assert energy_at(ticks, 0.45) is None
    assert energy_at(ticks, -0.1) is None
    assert energy_between(ticks, 0.05, 0.45, 0.1) is None


def test_an_update_is_placed_between_the_reads_that_enclose_it() -> None:
    points = [(0.0, 0.001, 1.0), (0.05, 0.001, 1.0), (0.1, 0.003, 2.0)]
    (tick,) = find_ticks(points)
    assert tick == pytest.approx((0.0765, 0.0265, 2.0))


def test_after_a_slow_call_the_last_update_is_at_most_a_period_old() -> None:
    points = [(0.0, 0.001, 1.0), (0.05, 0.5, 6.0), (0.6, 0.001, 6.0)]
    (tick,) = find_ticks(points, 0.02)
    assert tick.at_s - tick.half_width_s == pytest.approx(0.03)
    assert tick.at_s + tick.half_width_s == pytest.approx(0.55)


def test_energy_is_looked_up_between_points_and_nowhere_else() -> None:
    curve = Curve([(1.0, 10.0), (2.0, 30.0), (4.0, 30.0)])
    assert curve.at(1.0) == 10.0
    assert curve.at(1.5) == 20.0
    assert curve.between(1.5, 3.0) == 10.0
    assert curve.at(4.0) == 30.0
    assert curve.at(0.9) is curve.at(4.1) is curve.between(0.0, 2.0) is Curve([]).at(1.0) is None


def test_the_period_is_the_mean_distance_of_updates_and_knows_those_that_were_not_seen() -> None:
    assert mean_period_s([0.0, 0.1, 0.2, 0.35]) == pytest.approx(0.35 / 3)
    assert mean_period_s([0.0, 0.1, 0.2, 0.4, 0.5]) == pytest.approx(0.1)
    assert mean_period_s([0.0, 1.0]) is None


def test_a_32_bit_wrap_is_undone() -> None:
    wrap_j = 2**32 / 1000
    points = [(0.0, 0.0, wrap_j - 50), (0.1, 0.0, wrap_j - 10), (0.2, 0.0, 30.0), (0.3, 0.0, 70.0)]
    unwrapped = unwrap(points)
    assert [value for _, _, value in unwrapped.points] == pytest.approx(
        [wrap_j - 50, wrap_j - 10, wrap_j + 30, wrap_j + 70]
    )
    assert (unwrapped.num_wraps, unwrapped.reset_at_s) == (1, None)


def test_a_reset_is_not_taken_for_a_wrap() -> None:
    unwrapped = unwrap([(0.0, 0.0, 5000.0), (0.1, 0.0, 5050.0), (0.2, 0.0, 3.0), (0.3, 0.0, 50.0)])
    assert unwrapped.points == [(0.0, 0.0, 5000.0), (0.1, 0.0, 5050.0)]
    assert (unwrapped.num_wraps, unwrapped.reset_at_s) == (0, 0.2)


def test_a_reset_before_the_window_drops_what_came_before_it_and_no_more() -> None:
    unwrapped = unwrap([(0.0, 0.0, 5000.0), (0.1, 0.0, 3.0), (0.2, 0.0, 50.0), (0.3, 0.0, 90.0)], since_s=0.15)
    assert [at_s for at_s, _, _ in unwrapped.points] == [0.1, 0.2, 0.3]
    assert (unwrapped.num_wraps, unwrapped.reset_at_s) == (0, None)


@pytest.mark.parametrize("last_j", [2**32 / 1000 - 20_000, 2**32 / 1000 - 6000])
def test_a_fall_from_near_the_top_is_no_wrap_if_no_card_takes_so_much_power(last_j: float) -> None:
    points = [(0.0, 0.0, last_j - 30), (0.05, 0.0, last_j), (0.1, 0.0, 3.0), (0.15, 0.0, 20.0)]
    unwrapped = unwrap(points, update_period_s=0.1)
    assert (unwrapped.num_wraps, unwrapped.reset_at_s) == (0, 0.1)


def test_a_counter_that_never_wraps_was_reset() -> None:
    wrap_j = 2**32 / 1000
    assert unwrap([(0.0, 0.0, wrap_j - 10), (0.1, 0.0, 30.0)], wrap_j=None).reset_at_s == 0.1


def test_a_wrap_of_a_counter_that_is_updated_once_in_seconds_is_still_a_wrap() -> None:
    wrap_j = 2**32 / 1000
    unwrapped = unwrap([(0.0, 0.0, wrap_j - 100), (0.05, 0.0, wrap_j - 100), (0.1, 0.0, 1300.0)])
    assert unwrapped.num_wraps == 1
    assert unwrapped.points[-1][2] == pytest.approx(wrap_j + 1300)


def test_a_step_forwards_that_no_card_could_make_is_left_out() -> None:
    unwrapped = unwrap([(0.0, 0.0, 10.0), (0.1, 0.0, 9e15), (0.2, 0.0, 30.0)])
    assert [value for _, _, value in unwrapped.points] == [10.0, 30.0]
    assert unwrapped.reset_at_s is None
