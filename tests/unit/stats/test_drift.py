import numpy as np
import pytest
from scipy.stats import theilslopes

from gpubench.stats.steady_steps import Drift, drift, slope_interval


def noisy(num: int, seed: int, sigma: float = 0.01) -> np.ndarray:
    return 0.01 * np.exp(sigma * np.random.default_rng(seed).standard_normal(num))


def test_an_exact_drift_is_measured():
    times = 0.01 * np.exp(np.linspace(0, np.log(1.05), 2000))
    found = drift(times)
    # Block medians sit half a block inside either end: 19/20 of the window.
    assert found.value == pytest.approx(1.05 ** (19 / 20) - 1, rel=0.01)
    assert not found.steady


def test_a_level_series_is_steady():
    assert all(drift(noisy(400, seed)).steady for seed in range(100))


def test_a_drift_of_three_percent_is_found_in_noise_of_one():
    grown = [noisy(400, seed) * np.linspace(1, 1.03, 400) for seed in range(50)]
    assert sum(not drift(times).steady for times in grown) >= 48


def test_a_certain_drift_below_one_percent_is_steady():
    found = drift(0.01 * np.linspace(1, 1.005, 1000))
    assert found.low > 0
    assert found.steady


def test_getting_faster_is_a_drift_too():
    found = drift(0.01 * np.linspace(1, 0.9, 1000))
    assert found.value < -0.09
    assert not found.steady


@pytest.mark.parametrize("num", [5, 6, 11, 20])
@pytest.mark.parametrize("digits", [0, 1, 9])  # with many ties, some, none
def test_slope_and_interval_are_those_of_scipy(num, digits):
    for seed in range(10):
        values = np.round(np.random.default_rng(seed).standard_normal(num), digits)
        expected = theilslopes(values, np.arange(num), alpha=0.95)
        assert slope_interval(values) == pytest.approx((expected[0], expected[2], expected[3]))


def test_the_drift_is_the_slope_of_the_block_medians_over_the_window():
    times = noisy(1000, 9)
    blocks = np.median(np.log(times).reshape(20, 50), axis=1)
    assert np.log1p(drift(times)) == pytest.approx(19 * np.array(slope_interval(blocks)))


def test_too_few_steps_have_no_drift():
    assert drift(noisy(24, 0)) is None
    assert drift(noisy(25, 0)) is not None


def test_an_interval_that_holds_zero_is_steady_however_large_the_drift():
    assert Drift(0.2, -0.01, 0.5).steady
    assert not Drift(0.2, 0.01, 0.5).steady
