import math

import numpy as np
import pytest
from scipy import stats

from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate

STEP_TIME = METRICS["step_time_s"]


def test_times_are_summarised_by_their_geometric_mean_and_t_on_logs():
    found = estimate([0.010, 0.020, 0.040], STEP_TIME)
    error = math.log(2) / math.sqrt(3)
    reach = math.exp(stats.t.ppf(0.975, 2) * error)
    assert found.value == pytest.approx(0.020)
    assert (found.low, found.high) == pytest.approx((0.020 / reach, 0.020 * reach))
    assert (found.n, found.unit) == (3, "s")


def test_one_launch_has_no_interval():
    assert estimate([0.5], STEP_TIME) == Estimate(value=0.5, n=1, unit="s")


def test_equal_launches_have_an_interval_of_no_width():
    found = estimate([0.25, 0.25, 0.25], STEP_TIME)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_memory_is_the_largest_without_an_interval():
    found = estimate([2**30, 2**30 + 512], METRICS["peak_memory_allocated_bytes"])
    assert found == Estimate(value=2**30 + 512, n=2, unit="bytes")


def test_accuracy_is_the_arithmetic_mean():
    found = estimate([0.90, 0.92, 0.94], METRICS["accuracy"])
    reach = stats.t.ppf(0.975, 2) * 0.02 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.92, 0.92 - reach, 0.92 + reach))


def test_cold_times_are_medians_with_an_interval_from_six_launches():
    build = METRICS["build_s"]
    assert estimate([3.0, 1.0, 2.0], build) == Estimate(value=2.0, n=3, unit="s")
    found = estimate([6, 1, 2, 3, 4, 5], build)
    assert (found.value, found.low, found.high) == (3.5, 1, 6)


def test_an_energy_of_zero_falls_back_to_the_arithmetic_mean():
    assert estimate([0.0, 2.0], METRICS["energy_j"]).value == 1.0


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_missing_or_infinite_values_are_refused(values):
    with pytest.raises(ValueError, match="step_time_s"):
        estimate(values, STEP_TIME)


def test_the_interval_over_launches_covers_the_truth():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(2000):
        found = estimate(list(0.01 * np.exp(0.01 * rng.standard_normal(5))), STEP_TIME)
        hits += found.low <= 0.01 <= found.high
    assert 0.935 <= hits / 2000 <= 0.965
