import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import mstats

from gpubench.stats.estimators import (
    Location,
    detection_power,
    mean_location,
    rounds_needed,
    trimmed_location,
    trimmed_moments,
    welch_difference,
)

VALUES = st.lists(st.floats(-5, 5), min_size=3, max_size=40)


def test_trimmed_mean_of_a_hand_computed_sample():
    # Ten values, g = 2: kept 3..8, mean 5.5. Winsorised 3 3 3 4 5 6 7 8 8 8: mean 5.5, squares 3 (6.25 + 6.25) ...
    found = trimmed_location([1, 2, 3, 4, 5, 6, 7, 8, 9, 100])
    winsorised = [3, 3, 3, 4, 5, 6, 7, 8, 8, 8]
    variance = sum((w - 5.5) ** 2 for w in winsorised) / 9
    assert variance == pytest.approx(42.5 / 9)
    assert found.mean == 5.5
    assert found.standard_error == pytest.approx(math.sqrt(42.5 / 9) / (0.6 * math.sqrt(10)))
    assert found.df == 5


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7))
def test_of_fewer_than_eight_values_none_is_cut(values):
    assert trimmed_location(values) == pytest.approx(mean_location(values))


def test_one_wild_value_in_ten_does_not_move_the_trimmed_mean():
    assert trimmed_location([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) == trimmed_location([1, 2, 3, 4, 5, 6, 7, 8, 9, 1e9])


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=40))
def test_trimmed_mean_is_that_of_scipy(values):
    assert trimmed_location(values).mean == pytest.approx(stats.trim_mean(values, 0.2), abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=40))
def test_standard_error_is_that_of_scipy(values):
    cut = math.floor(0.2 * len(values) + 1e-9)
    limits = (cut / len(values) + 1e-12, cut / len(values) + 1e-12)
    expected = mstats.trimmed_stde(np.array(values), limits=limits, inclusive=(True, True))
    assert trimmed_location(values).standard_error == pytest.approx(float(expected), abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=30).filter(lambda v: np.std(v) > 1e-6))
def test_without_trimming_it_is_the_t_test_of_scipy(values):
    expected = stats.ttest_1samp(values, 0.3)
    assert mean_location(values).p_value(0.3) == pytest.approx(expected.pvalue, rel=1e-6)
    interval = expected.confidence_interval(0.95)
    assert mean_location(values).interval(0.95) == pytest.approx((interval.low, interval.high))


@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=20).filter(lambda v: np.std(v) > 1e-6),
    st.lists(st.floats(-5, 5), min_size=3, max_size=20).filter(lambda v: np.std(v) > 1e-6),
)
def test_welch_is_that_of_scipy(first, second):
    expected = stats.ttest_ind(second, first, equal_var=False)
    found = welch_difference(first, second)
    assert found.df == pytest.approx(expected.df)
    assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-6)


def test_moments_work_along_the_last_axis():
    values = np.random.default_rng(0).standard_normal((4, 3, 12))
    mean, error, df = trimmed_moments(values)
    alone = trimmed_location(values[2, 1])
    assert (mean[2, 1], error[2, 1], df) == pytest.approx((alone.mean, alone.standard_error, alone.df))


def test_values_without_spread_are_certain():
    assert trimmed_location([0.5] * 6).p_value() == 0.0
    assert trimmed_location([0.0] * 6).p_value() == 1.0
    assert trimmed_location([0.5] * 6).interval() == (0.5, 0.5)
    assert welch_difference([1.0, 1.0], [2.0, 2.0]) == Location(1.0, 0.0, 2)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_standard_error_needs_two_values(values):
    with pytest.raises(ValueError, match="at least two"):
        trimmed_location(values)


def test_one_sided_p_values_add_up():
    found = mean_location([0.1, 0.3, -0.1, 0.2])
    below = 1 - found.p_above()
    assert found.p_value() == pytest.approx(2 * min(found.p_above(), below))


def test_power_is_that_of_the_noncentral_t():
    df, shift = 24 - 8 - 1, 0.03 * math.sqrt(24) / 0.05
    critical = stats.t.ppf(1 - 0.0012, df)
    assert detection_power(0.05, 0.03, 0.0024, 24) == pytest.approx(stats.nct.sf(critical, df, shift))


def test_power_matches_simulation():
    rng = np.random.default_rng(11)
    mean, error, df = trimmed_moments(0.02 + 0.03 * rng.standard_normal((20_000, 24)))
    # The trimmed mean of normal values is a little noisier than their mean: its spread is what counts.
    spread = float(np.mean(error)) * math.sqrt(24)
    found = float(np.mean(mean / error > stats.t.ppf(1 - 0.0012, df)))
    assert detection_power(spread, 0.02, 0.0024, 24) == pytest.approx(found, abs=0.04)


def test_rounds_needed_reach_the_power_and_one_fewer_size_does_not():
    needed = rounds_needed(0.05, 0.03, 0.0024)
    assert detection_power(0.05, 0.03, 0.0024, needed) >= 0.95
    assert detection_power(0.05, 0.03, 0.0024, needed - 3) < 0.95


def test_no_affordable_number_of_rounds_is_none():
    assert rounds_needed(10.0, 0.001, 0.01, most=100) is None


def test_no_noise_needs_few_rounds():
    assert rounds_needed(0.0, 0.03, 0.0024) == 3


@given(st.floats(0.005, 0.2), st.floats(1.05, 3))
def test_more_noise_never_needs_fewer_rounds(spread, factor):
    # The share trimmed jumps at multiples of five, where a round more can cost a little power.
    less, more = rounds_needed(spread, 0.03, 0.0024), rounds_needed(spread * factor, 0.03, 0.0024)
    assert more is None or (less is not None and less <= more + 2)
