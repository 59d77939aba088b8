import pytest

from gpubench.analysis.summary.measured_ceilings import achieved_flops, mfu
from gpubench.core.records import Estimate

RATE = Estimate(value=100.0, low=90.0, high=110.0, n=3, unit="samples/s")


def test_achieved_flops_are_flops_per_sample_times_rate_with_its_interval():
    found = achieved_flops({"throughput": RATE, "flops_per_sample": Estimate(value=2e9)})
    assert found == Estimate(value=2e11, low=1.8e11, high=2.2e11, n=3, unit="FLOP/s")


@pytest.mark.parametrize("known", [{}, {"throughput": RATE}, {"flops_per_sample": Estimate(value=1.0)}])
def test_without_count_or_rate_there_are_none(known):
    assert achieved_flops(known) is None


def test_what_the_worker_measured_is_kept():
    measured = Estimate(value=5.0, unit="FLOP/s")
    assert achieved_flops({"achieved_flops": measured, "throughput": RATE}) is measured


def test_mfu_needs_a_measured_peak():
    achieved = Estimate(value=2e14, low=1e14, high=3e14, n=3, unit="FLOP/s")
    assert mfu(achieved, 8e14) == Estimate(value=0.25, low=0.125, high=0.375, n=3, unit="1")
    assert mfu(achieved, None) is None
    assert mfu(None, 8e14) is None
