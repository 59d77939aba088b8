import numpy as np
import pytest

from gpubench.core.metrics import METRICS
from gpubench.stats.steady_steps import QUANTILES, least_sample, percentiles


@pytest.mark.parametrize(("quantile", "needed"), [(0.90, 29), (0.95, 59), (0.99, 299)])
def test_least_samples_are_29_59_and_299(quantile, needed):
    assert least_sample(quantile) == needed


def test_a_large_sample_has_every_percentile():
    values, absent = percentiles(np.arange(1, 1002) / 1000, 1001)
    assert values == pytest.approx({"p50_s": 0.501, "p90_s": 0.901, "p95_s": 0.951, "p99_s": 0.991})
    assert absent == {}


@pytest.mark.parametrize(
    ("n_effective", "known"),
    [
        (28.9, ["p50_s"]),
        (29, ["p50_s", "p90_s"]),
        (58.9, ["p50_s", "p90_s"]),
        (59, ["p50_s", "p90_s", "p95_s"]),
        (298.9, ["p50_s", "p90_s", "p95_s"]),
        (299, ["p50_s", "p90_s", "p95_s", "p99_s"]),
    ],
)
def test_a_percentile_needs_its_effective_sample(n_effective, known):
    values, absent = percentiles([0.01] * 1000, n_effective)
    assert [name for name, value in values.items() if value is not None] == known
    assert set(absent) == set(values) - set(known)


def test_an_absent_percentile_says_what_is_missing():
    _, absent = percentiles([0.01] * 100, 40.5)
    assert absent["p99_s"] == "needs an effective sample of 299, this series has 40"


def test_no_steps_have_no_percentiles():
    values, absent = percentiles([], 0)
    assert set(values.values()) == {None}
    assert set(absent) == set(values)


@pytest.mark.parametrize("prefix", ["step_time_", "latency_"])
def test_names_with_a_prefix_are_metrics_of_the_registry(prefix):
    assert all(prefix + name in METRICS for name in QUANTILES)
