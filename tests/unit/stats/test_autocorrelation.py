import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.stats.autocorrelation import autocorrelation, autocorrelation_time, geyer_tau, sokal_tau


def ar1(phi: float, num: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(num + 500)
    for i in range(1, x.size):
        x[i] = phi * x[i - 1] + math.sqrt(1 - phi**2) * x[i]
    return x[500:]


def test_autocorrelation_of_a_hand_computed_series():
    # 1 2 3 4: deviations -1.5 -0.5 0.5 1.5, sum of squares 5; lag 1: 0.75 - 0.25 + 0.75 = 1.25; lag 2: -0.75 - 0.75.
    assert autocorrelation([1, 2, 3, 4], 3) == pytest.approx([1, 0.25, -0.3, -0.45])


def test_autocorrelation_by_fft_equals_the_direct_sum():
    x = ar1(0.6, 301, 1)
    centred = x - x.mean()
    direct = [float(centred[: x.size - lag] @ centred[lag:]) / float(centred @ centred) for lag in range(151)]
    assert autocorrelation(x) == pytest.approx(direct, abs=1e-12)


def test_a_constant_series_has_no_autocorrelation_after_lag_zero():
    assert autocorrelation([0.1] * 10).tolist() == [1, 0, 0, 0, 0, 0]


def test_autocorrelation_refuses_a_single_value():
    with pytest.raises(ValueError, match="at least two values"):
        autocorrelation([1.0])


def test_geyer_stops_at_the_first_negative_pair():
    # Pairs: 1 + 0.5 = 1.5, 0.2 + 0.1 = 0.3, -0.4 + 0.1 < 0. tau = 2 (1.5 + 0.3) - 1.
    assert geyer_tau(np.array([1, 0.5, 0.2, 0.1, -0.4, 0.1, 0.9, 0.9])) == pytest.approx(2.6)


def test_geyer_holds_each_pair_down_to_the_one_before():
    # Pairs: 1.1, 0.2, then 0.6 held down to 0.2, then negative.
    assert geyer_tau(np.array([1, 0.1, 0.1, 0.1, 0.3, 0.3, -0.1, -0.1])) == pytest.approx(2 * (1.1 + 0.2 + 0.2) - 1)


def test_sokal_takes_the_first_window_of_five_taus():
    rho = 0.5 ** np.arange(40)
    partial = 2 * np.cumsum(rho) - 1
    window = next(m for m in range(40) if m >= 5 * partial[m])
    assert sokal_tau(rho) == pytest.approx(partial[window])
    assert window == 15


@pytest.mark.parametrize(("phi", "low", "high"), [(0.0, 1.0, 1.3), (0.5, 2.4, 3.9), (0.9, 14, 26)])
def test_tau_of_an_autoregressive_series_is_near_its_theory(phi, low, high):
    """(1 + phi) / (1 - phi) for the series itself: 1, 3, 19."""
    found = [autocorrelation_time(ar1(phi, 4000, seed)) for seed in range(10)]
    assert low <= float(np.median(found)) <= high


def test_independent_times_are_worth_almost_all_of_their_number():
    found = [autocorrelation_time(np.random.default_rng(seed).lognormal(0, 0.1, 1000)) for seed in range(20)]
    assert float(np.median(found)) < 1.25


def test_alternating_times_are_not_credited_with_more_than_independent_ones():
    assert autocorrelation_time([1.0, 2.0] * 100) == 1.0


def test_three_times_or_a_constant_series_have_tau_one():
    assert autocorrelation_time([1.0, 5.0, 2.0]) == 1.0
    assert autocorrelation_time([0.01] * 50) == 1.0


def test_a_slow_burst_that_the_median_does_not_see_still_raises_tau():
    times = np.random.default_rng(0).lognormal(0, 0.01, 400)
    times[200:215] *= 3
    assert autocorrelation_time(times) > 5


@given(
    st.lists(st.floats(0.5, 2), min_size=4, max_size=60),
    st.sampled_from([0.25, 2.0, 1024.0]),
)
def test_tau_does_not_depend_on_the_unit(times, factor):
    scaled = [factor * t for t in times]
    assert autocorrelation_time(scaled) == pytest.approx(autocorrelation_time(times), rel=1e-6)
