import math

import pytest
from fakes.analysis_runs import RunBuilder
from scipy import stats

from gpubench.analysis.insight.factor_effects import factor_effects
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import finding


def effects(build: RunBuilder, **options):
    return factor_effects(summarise_run(build.run()).cases, **options)


def the(found, factor, value):
    (effect,) = [entry for entry in found if (entry.factor, entry.value) == (factor, value)]
    return effect


def test_an_effect_is_the_geometric_mean_over_otherwise_equal_pairs():
    build = RunBuilder()
    for batch, base in ((64, 100.0), (128, 200.0)):
        build.measured([base, base], batch_size=batch, precision="fp32")
        build.measured([base * batch / 32, base * batch / 32], batch_size=batch, precision="tf32")
    effect = the(effects(build), "precision", "tf32")
    reach = math.exp(stats.t.ppf(0.975, 1) * math.log(2) / 2)
    assert effect.ratio.value == pytest.approx(math.sqrt(2 * 4))
    assert effect.ratio.low == pytest.approx(math.sqrt(8) / reach)
    assert (effect.base, effect.num_pairs) == ("fp32", 2)
    assert sorted(pair.ratio for pair in effect.pairs) == pytest.approx([2, 4])


def test_one_pair_has_the_interval_of_its_launches():
    build = RunBuilder()
    build.measured([100.0, 110.0, 105.0], cudnn_benchmark=False)
    build.measured([200.0, 220.0, 210.0], cudnn_benchmark=True)
    effect = the(effects(build), "cudnn_benchmark", True)
    assert (effect.ratio.value, effect.ratio.low, effect.ratio.high) == pytest.approx((2, 2, 2))


def test_cases_that_differ_in_two_settings_are_no_pair():
    build = RunBuilder()
    build.measured([100.0, 100.0], precision="fp32", memory_format="contiguous")
    build.measured([200.0, 200.0], precision="tf32", memory_format="channels_last")
    assert effects(build) == ()


def test_modes_and_devices_have_effects_of_their_own():
    build = RunBuilder()
    for mode, gain in (("train", 2.0), ("infer", 3.0)):
        build.measured([100.0, 100.0], mode=mode, precision="fp32")
        build.measured([100 * gain, 100 * gain], mode=mode, precision="amp-bf16")
    found = {effect.context["mode"]: effect.ratio.value for effect in effects(build)}
    assert found == pytest.approx({"infer": 3.0, "train": 2.0})


def test_batch_size_is_against_the_smallest():
    build = RunBuilder()
    for batch, rate in ((32, 100.0), (128, 400.0)):
        build.measured([rate, rate], batch_size=batch)
    effect = the(effects(build), "batch_size", 128)
    assert (effect.base, effect.ratio.value) == (32, pytest.approx(4.0))


def test_invalid_cases_take_no_part_and_weakened_ones_only_where_no_other_can():
    build = RunBuilder()
    for batch in (32, 64, 128):
        build.measured([100.0, 100.0], batch_size=batch, precision="fp32")
    build.measured([200.0, 200.0], batch_size=32, precision="tf32", parity=False)
    build.measured([500.0, 500.0], batch_size=64, precision="tf32", findings=[finding("GB202", "drifts")])
    build.measured([300.0, 300.0], batch_size=128, precision="tf32")
    effect = the(effects(build), "precision", "tf32")
    assert (effect.num_pairs, effect.num_suspect, effect.verdict) == (1, 1, "faster")
    assert effect.ratio.value == pytest.approx(3.0)


def test_without_the_base_value_there_is_no_effect():
    build = RunBuilder()
    build.measured([1.0, 1.0], precision="tf32")
    build.measured([2.0, 2.0], precision="amp-bf16")
    assert effects(build) == ()
    assert effects(build, factors={"precision": "tf32"})[0].value == "amp-bf16"


def test_latency_is_compared_so_that_above_one_is_faster():
    build = RunBuilder()
    for graph, latency in ((False, 0.004), (True, 0.001)):
        planned = build.plan(mode="infer", timing="latency", cuda_graph=graph)
        for repeat in (1, 2):
            build.record(planned, repeat, metrics={"latency_s": latency})
    assert the(effects(build), "cuda_graph", True).ratio.value == pytest.approx(4.0)


def test_memory_is_stated_beside_speed_where_it_was_measured():
    build = RunBuilder()
    build.measured([1.0, 1.0], precision="fp32", metrics={"peak_memory_allocated_bytes": 1000.0})
    build.measured([2.0, 2.0], precision="bf16", metrics={"peak_memory_allocated_bytes": 500.0})
    assert effects(build)[0].memory_ratio.value == pytest.approx(0.5)


def test_cpu_against_cuda_is_an_effect_of_the_device():
    build = RunBuilder()
    build.measured([10.0, 10.0], device="cpu")
    build.measured([500.0, 500.0], device="cuda")
    effect = the(effects(build), "device", "cuda")
    assert effect.ratio.value == pytest.approx(50.0)
    assert "device" not in effect.context
