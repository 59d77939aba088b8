import pytest
from fakes.analysis_runs import RunBuilder

from gpubench.analysis.summary.case_figures import mfu
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Estimate


def figures(**metrics: float):
    """Of a case of two launches, the second at three times the rate of the first."""
    build = RunBuilder()
    planned = build.plan()
    for repeat in (1, 2):
        values = {name: value * 3 ** (repeat - 1) if name == "throughput" else value for name, value in metrics.items()}
        build.record(planned, repeat, metrics=values)
    (summary,) = summarise_run(build.run()).cases
    return summary.metrics


def test_achieved_flops_are_flops_per_sample_times_rate_with_its_interval():
    found = figures(throughput=100.0, flops_per_sample=2e9)
    rate, achieved = found["throughput"], found["achieved_flops"]
    assert rate.low is not None
    assert rate.high is not None
    assert achieved == Estimate(value=rate.value * 2e9, low=rate.low * 2e9, high=rate.high * 2e9, n=2, unit="FLOP/s")


@pytest.mark.parametrize("known", [{}, {"throughput": 100.0}, {"flops_per_sample": 1.0}])
def test_without_count_or_rate_there_are_none(known):
    assert "achieved_flops" not in figures(**known)


def test_what_the_worker_measured_is_kept():
    assert figures(achieved_flops=5.0, throughput=100.0, flops_per_sample=1.0)["achieved_flops"].value == pytest.approx(
        5.0
    )


def test_mfu_needs_a_measured_peak():
    achieved = Estimate(value=2e14, low=1e14, high=3e14, n=3, unit="FLOP/s")
    assert mfu(achieved, 8e14) == Estimate(value=0.25, low=0.125, high=0.375, n=3, unit="1")
    assert mfu(achieved, None) is None
    assert mfu(None, 8e14) is None
