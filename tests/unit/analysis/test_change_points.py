import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpubench.analysis.history.change_points import best_split, change_points


def series(*levels: float, num: int = 10, noise: float = 0.005, seed: int = 1) -> list[float]:
    rng = np.random.default_rng(seed)
    return [level * math.exp(noise * rng.standard_normal()) for level in levels for _ in range(num)]


def positions(values, **options):
    return [found.at for found in change_points(values, **options)]


def test_a_step_is_found_where_it_is():
    (found,) = change_points(series(1.0, 1.1))
    assert found.at == 10
    assert found.change == pytest.approx(0.1, abs=0.01)
    assert found.before == pytest.approx(1.0, abs=0.01)
    assert found.p_value <= 0.01


def test_steps_up_and_down_are_each_found():
    found = change_points(series(1.0, 1.1, 0.9, num=12))
    assert [each.at for each in found] == [12, 24]
    assert [each.change > 0 for each in found] == [True, False]


def test_a_level_that_stays_has_no_change():
    assert positions(series(1.0, num=40)) == []


def test_equal_values_have_no_change():
    assert positions([2.0] * 30) == []


def test_a_shift_below_the_floor_is_left_out_however_certain():
    values = series(1.0, 1.02, noise=0.0005)
    assert positions(values) == []
    assert positions(values, floor=0.01) == [10]


def test_three_on_each_side_are_never_a_change():
    assert positions([1.0, 1.001, 0.999, 2.0, 2.001, 1.999]) == []
    assert all(4 <= at <= 6 for at in positions([1.0, 1.001, 0.999, *series(2.0, num=7)]))


def test_a_single_outlier_is_no_change():
    values = series(1.0, num=30)
    values[15] *= 2
    assert positions(values) == []


def test_the_best_split_is_that_of_a_hand_computed_statistic():
    # Between 0 0 and 1 1 1: distances across are 1, inside 0, so Q = 2 * 3 / 5 * 2 = 2.4.
    at, statistic = best_split(np.array([0.0, 0.0, 1.0, 1.0, 1.0]), 2)
    assert (at, statistic) == (2, pytest.approx(2.4))


def test_the_same_series_gives_the_same_answer():
    values = series(1.0, 1.04, noise=0.02)
    assert change_points(values, seed=3) == change_points(values, seed=3)


def test_four_on_each_side_are_enough():
    assert positions(series(1.0, 1.2, num=4)) == [4]


def test_a_floor_above_the_noise_leaves_no_false_alarm():
    rng = np.random.default_rng(3)
    assert not any(change_points(list(np.exp(0.01 * rng.standard_normal(24))), permutations=99) for _ in range(40))


def test_without_a_floor_false_alarms_are_about_one_in_twenty():
    rng = np.random.default_rng(7)
    alarms = sum(
        bool(change_points(list(np.exp(0.01 * rng.standard_normal(24))), floor=1e-6, permutations=199))
        for _ in range(60)
    )
    assert alarms <= 8


@pytest.mark.parametrize("bad", [[0.0] * 9, [math.nan] * 9, [-1.0] * 9, [1.0] * 1001])
def test_what_is_no_series_is_refused(bad):
    with pytest.raises(ValueError, match="a series"):
        change_points(bad)


@given(st.lists(st.floats(0.5, 2.0), min_size=8, max_size=24), st.sampled_from([0.125, 8.0, 1024.0]))
@example([2.0, 1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0], 0.125)
@settings(max_examples=30, deadline=None)
def test_the_unit_does_not_matter(values, factor):
    assert positions(values, permutations=99) == positions([factor * value for value in values], permutations=99)


@pytest.mark.parametrize("every", [1, 3])
def test_the_best_split_is_that_of_all_distances(every):
    values = np.random.default_rng(2).standard_normal(24)

    def q(at):
        left, right = values[:at], values[at:]
        m, n = len(left), len(right)
        across, inside_left, inside_right = (
            np.abs(a[:, None] - b[None, :]).sum() for a, b in ((left, right), (left, left), (right, right))
        )
        return m * n / (m + n) * (2 * across / (m * n) - inside_left / (m * (m - 1)) - inside_right / (n * (n - 1)))

    best = max(range(4, 21, every), key=q)
    assert best_split(values, 4, every) == (best, pytest.approx(q(best)))


def test_a_long_series_is_split_where_it_changes():
    assert positions(series(1.0, 1.1, num=300)) == [300]
