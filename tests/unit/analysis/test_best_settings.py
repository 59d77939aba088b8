import math

import pytest
from fakes.analysis_runs import RunBuilder
from scipy import stats

from gpubench.analysis.insight.best_settings import best_overall, best_settings, gains, speed_ratio, speedup
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import finding


def cases(build: RunBuilder):
    return summarise_run(build.run()).cases


def test_the_fastest_valid_case_of_each_precision_is_best():
    build = RunBuilder()
    build.measured([100.0, 100.0], precision="fp32", batch_size=32)
    build.measured([120.0, 120.0], precision="fp32", batch_size=64)
    build.measured([300.0, 300.0], precision="amp-bf16", batch_size=32)
    found = best_settings(cases(build))
    assert [(best.precision, best.summary.case.batch_size, best.won) for best in found] == [
        ("fp32", 64, True),
        ("amp-bf16", 32, True),
    ]


@pytest.mark.parametrize("spoilt", [{"findings": [finding("GB202", "Step time drifted.")]}, {"parity": None}])
def test_suspect_and_unverified_cases_do_not_beat_a_valid_one(spoilt):
    build = RunBuilder()
    build.measured([100.0, 100.0], batch_size=32)
    build.measured([900.0, 900.0], batch_size=64, **spoilt)
    (best,) = best_settings(cases(build))
    assert (best.summary.case.batch_size, best.won) == (32, True)


def test_where_nothing_may_win_the_fastest_is_shown_with_what_spoils_it():
    build = RunBuilder()
    build.measured([100.0, 100.0], findings=[finding("GB202", "Step time drifted.")])
    (best,) = best_settings(cases(build))
    assert (best.won, best.why_not) == (False, "Step time drifted.")


def test_an_unverified_case_says_that_it_is():
    build = RunBuilder()
    build.measured([100.0, 100.0], parity=None)
    assert best_settings(cases(build))[0].why_not == "its output was not verified"


def test_invalid_cases_are_never_ranked():
    build = RunBuilder()
    build.measured([900.0, 900.0], parity=False)
    assert best_settings(cases(build)) == ()


def test_latency_has_a_best_per_batch_size_and_lower_is_better():
    build = RunBuilder()
    for batch, graph, latency in ((1, False, 0.004), (1, True, 0.001), (8, False, 0.010)):
        planned = build.plan(mode="infer", timing="latency", batch_size=batch, cuda_graph=graph)
        for repeat in (1, 2):
            build.record(planned, repeat, metrics={"latency_s": latency})
    found = best_settings(cases(build))
    assert [(best.summary.case.batch_size, best.summary.case.cuda_graph) for best in found] == [(1, True), (8, False)]


def test_a_winner_goes_before_a_faster_case_that_may_not_win():
    build = RunBuilder()
    build.measured([100.0, 100.0], precision="fp32")
    build.measured([900.0, 900.0], precision="amp-fp16", parity=None)
    (best,) = best_overall(best_settings(cases(build)))
    assert best.precision == "fp32"


def test_speed_ups_are_paired_by_round():
    build = RunBuilder()
    build.measured([100.0, 120.0, 90.0], precision="fp32")
    build.measured([200.0, 240.0, 180.0], precision="tf32")
    base, other = cases(build)
    found = speedup(other, base)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_speed_ups_of_different_repeats_use_welch():
    build = RunBuilder()
    build.measured([100.0, 110.0, 120.0], precision="fp32")
    build.measured([200.0, 220.0], precision="tf32")
    base, other = cases(build)
    expected = stats.ttest_ind(
        [math.log(v) for v in (200, 220)], [math.log(v) for v in (100, 110, 120)], equal_var=False
    ).confidence_interval(0.95)
    found = speedup(other, base)
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_single_launches_give_a_ratio_without_an_interval():
    build = RunBuilder()
    build.measured([100.0], precision="fp32")
    build.measured([250.0], precision="tf32")
    base, other = cases(build)
    assert (speedup(other, base).value, speedup(other, base).low) == (pytest.approx(2.5), None)


def test_latency_and_throughput_are_never_compared():
    build = RunBuilder()
    build.measured([100.0, 100.0], mode="infer")
    planned = build.plan(mode="infer", timing="latency")
    build.record(planned, 1, metrics={"latency_s": 0.001})
    base, other = cases(build)
    assert speedup(other, base) is None
    assert speed_ratio(other, base) is None


@pytest.mark.parametrize("theirs", [[100.0, 110.0, 97.0], [100.0, 110.0], [100.0]], ids=["paired", "welch", "single"])
def test_the_ratio_alone_is_that_of_the_speed_up(theirs):
    build = RunBuilder()
    build.measured(theirs, precision="fp32")
    build.measured([203.0, 241.0, 187.0], precision="tf32")
    build.measured([203.0, 241.0], precision="bf16")
    base, *others = cases(build)
    assert [speed_ratio(other, base) for other in others] == [speedup(other, base).value for other in others]


def test_gains_are_best_against_best_of_the_baseline():
    build = RunBuilder()
    for batch, rate in ((32, 100.0), (64, 125.0)):
        build.measured([rate, rate], precision="fp32", batch_size=batch)
    build.measured([500.0, 500.0], precision="amp-bf16", batch_size=32)
    (gain,) = gains(best_settings(cases(build)), {"device": "cpu", "precision": "fp32"})
    assert gain.baseline.summary.case.batch_size == 64
    assert gain.found.ratio.value == pytest.approx(4.0)


def test_the_baseline_may_be_another_device_but_not_another_mode():
    build = RunBuilder()
    build.measured([10.0, 10.0], device="cpu", mode="train")
    build.measured([500.0, 500.0], device="cuda", mode="train")
    build.measured([900.0, 900.0], device="cuda", mode="infer")
    found = gains(best_settings(cases(build)), {"device": "cpu", "precision": "fp32"})
    assert [(gain.best.summary.case.mode, gain.found.ratio.value) for gain in found] == [("train", pytest.approx(50.0))]


def test_no_baseline_no_gains():
    build = RunBuilder()
    build.measured([10.0, 10.0])
    assert gains(best_settings(cases(build)), {}) == ()
