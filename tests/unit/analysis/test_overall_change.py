import math

import pytest
from fakes.analysis_runs import RunBuilder

from gpubench.analysis.compare.case_changes import compare_runs
from gpubench.analysis.compare.compare_sides import overall, speed_change, weakest_level
from gpubench.analysis.summary.run_summary import summarise_run


def changes(*factors: float, noise: float = 0.001, num: int = 10, parity: bool = True, interleaved: bool = True):
    before, after = RunBuilder(), RunBuilder()
    for number, factor in enumerate(factors):
        before.measured([100.0] * num, batch_size=2**number)
        rates = [100.0 / factor * math.exp(noise * (-1) ** repeat) for repeat in range(num)]
        after.measured(rates, batch_size=2**number, parity=parity)
    pair = summarise_run(before.run()), summarise_run(after.run())
    return compare_runs(*pair, ["throughput"], interleaved=interleaved)


def test_the_geometric_mean_of_twice_and_half_is_one():
    found = overall(changes(2.0, 0.5, noise=0.0))
    assert found.num_cases == 2
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((1.0, 1.0, 1.0))


def test_the_interval_shrinks_with_the_root_of_the_number_of_cases():
    one, four = (overall(changes(*[1.1] * num)).ratio for num in (1, 4))
    assert one.value == pytest.approx(1.1, rel=1e-3)
    # Five rounds settle it: 4 degrees of freedom for one case, 16 for four; t falls from 2.78 to 2.12.
    narrower = math.log(one.high / one.low) / math.log(four.high / four.low)
    assert narrower == pytest.approx(2 * 2.7764 / 2.1199, rel=1e-3)


def test_how_much_cases_differ_is_not_in_the_interval():
    found = overall(changes(2.0, 0.5)).ratio
    assert found.high - found.low < 0.01


def test_invalid_cases_have_no_part_in_it():
    assert overall(changes(1.5, parity=False)) is None


def test_one_launch_a_side_gives_a_mean_without_an_interval():
    found = overall(changes(1.5, num=1, interleaved=False))
    assert (found.ratio.value, found.ratio.low) == (pytest.approx(1.5, rel=2e-3), None)


def test_the_level_is_that_of_the_weakest_comparison():
    assert weakest_level([*changes(1.0), *changes(1.0, interleaved=False)]) == "stored"
    assert weakest_level([]) is None


def test_latency_is_a_speed_too():
    build = RunBuilder()
    planned = build.plan(timing="latency", mode="infer")
    for repeat in (1, 2, 3):
        build.record(planned, repeat, metrics={"latency_s": 0.01})
    summary = summarise_run(build.run())
    (change,) = compare_runs(summary, summary, ["throughput", "latency_s"])
    assert speed_change(change).metric == "latency_s"
