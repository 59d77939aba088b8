import numpy as np
import pytest

from gpubench.stats.steady_steps import far_outliers


def test_fences_of_a_hand_computed_series():
    # Logs 0..8: quartiles 2 and 6, so far out is below -10 and above 18.
    logs = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert far_outliers(np.exp(logs)).num_high == 0
    assert far_outliers(np.exp(logs)).high_fence == pytest.approx(np.exp(18))


def test_one_slow_step_is_counted_and_its_time_is_weighed():
    found = far_outliers([0.010] * 49 + [0.110])
    assert (found.num_low, found.num_high, found.num_steps) == (0, 1, 50)
    assert found.excess_share == pytest.approx(0.100 / 0.600)
    assert found.worth_saying


def test_a_fast_step_is_no_reason_to_warn():
    found = far_outliers([0.010] * 49 + [0.001])
    assert (found.num_low, found.num_high) == (1, 0)
    assert not found.worth_saying


def test_a_rare_outlier_that_moves_nothing_is_not_worth_saying():
    found = far_outliers([0.010] * 999 + [0.015])
    assert found.num_high == 1
    assert not found.worth_saying


def test_the_quantum_of_a_clock_makes_no_outliers():
    assert far_outliers([1.000] * 90 + [1.002] * 10).num_high == 0


def test_lognormal_steps_have_no_far_outliers():
    times = np.random.default_rng(0).lognormal(0, 0.05, 20_000)
    assert far_outliers(times).num_high <= 1


def test_an_empty_series_is_refused():
    with pytest.raises(ValueError, match="empty"):
        far_outliers([])
