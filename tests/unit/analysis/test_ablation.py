import math
import random

import pytest
from fakes.ceiling_runs import Ceiled

from gpubench.analysis.insight.ablation import waterfall
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import finding
from gpubench.core.records import Status

BASE = {"workload": "torchvision:resnet50", "device": "cuda"}
PATH = [{"precision": "tf32"}, {"precision": "amp-bf16"}, {"memory_format": "NHWC"}, {"batch_size": 256}]
TF32, AMP = {"precision": "tf32"}, {"precision": "amp-bf16"}
NHWC = {**AMP, "memory_format": "NHWC"}
LARGE = {**NHWC, "batch_size": 256}


def launches(rate, spread=0.01, num=5, seed=None):
    noise = random.Random(f"{rate}{seed}")
    return [rate * math.exp(noise.gauss(0, spread)) for _ in range(num)]


def measured(*stages, alone=(), num=5):
    """A run with these (rate, settings) stages after the base at 100 samples/s; `alone` likewise, from the base."""
    made = Ceiled()
    made.model(*launches(100.0, num=num), **{k: v for k, v in BASE.items() if k != "workload"})
    planned = [made.model(*launches(rate, num=num), **settings) for rate, settings in (*stages, *alone)]
    return made, planned


def waterfall_of(made, path=PATH, **changes):
    return waterfall(summarise_run(made.path_run(path, BASE, **changes)))


def test_each_stage_is_held_against_the_one_before_and_against_the_base():
    made, _ = measured((150.0, TF32), (300.0, AMP), (600.0, NHWC), (900.0, LARGE))
    found = waterfall_of(made)
    assert [stage.changes for stage in found.stages] == [
        {"precision": ("fp32", "tf32")},
        {"precision": ("tf32", "amp-bf16")},
        {"memory_format": ("contiguous", "channels_last")},
        {"batch_size": (64, 256)},
    ]
    assert [stage.ratio.value for stage in found.stages] == pytest.approx([1.5, 2.0, 2.0, 1.5], rel=0.02)
    assert [stage.total.value for stage in found.stages] == pytest.approx([1.5, 3.0, 6.0, 9.0], rel=0.02)
    assert found.best.total.value == found.whole.value
    assert found.most.changes in (
        {"precision": ("tf32", "amp-bf16")},
        {"memory_format": ("contiguous", "channels_last")},
    )


def test_the_steps_multiply_to_the_whole():
    made, _ = measured((150.0, TF32), (300.0, AMP), (600.0, NHWC), (900.0, LARGE))
    found = waterfall_of(made)
    assert found.product == pytest.approx(found.whole.value, rel=1e-12)
    assert found.whole.low < found.product < found.whole.high


def test_with_launches_missing_the_product_still_lies_within_the_interval_of_the_whole():
    made, planned = measured((150.0, TF32), (300.0, AMP), (600.0, NHWC), (900.0, LARGE))
    made.records = [
        each
        for each in made.records
        if (each.case_index, each.repeat) not in {(planned[1].index, 2), (planned[0].index, 5)}
    ]
    found = waterfall_of(made)
    assert found.product != found.whole.value
    assert found.whole.low < found.product < found.whole.high


def test_a_stage_that_cannot_run_is_left_out_and_the_next_one_carries_its_change():
    made, planned = measured((150.0, TF32), (300.0, AMP), (600.0, NHWC), (900.0, LARGE))
    made.drop(planned[0], Status.UNSUPPORTED, "TF32 is a mode of NVIDIA's tensor cores; a CPU has none")
    found = waterfall_of(made)
    assert found.stages[0].changes == {"precision": ("fp32", "amp-bf16")}
    assert found.stages[0].alone is None
    (left,) = found.left_out
    assert left.changes == {"precision": ("fp32", "tf32")}
    assert left.reason == "unsupported: TF32 is a mode of NVIDIA's tensor cores; a CPU has none"
    assert found.product == pytest.approx(found.whole.value, rel=1e-12)


def test_a_stage_whose_output_is_wrong_is_left_out_however_fast():
    made, _ = measured((150.0, TF32), (300.0, AMP))
    made.model(*launches(9000.0), findings=[finding("GB301", "The layout was not as asked.")], **NHWC)
    found = waterfall_of(made)
    assert [each.reason for each in found.left_out] == ["The layout was not as asked.", "not part of this run"]
    assert len(found.stages) == 2


def test_the_same_change_alone_says_what_it_is_worth_without_the_others():
    made, _ = measured(
        (150.0, TF32),
        (300.0, AMP),
        (600.0, NHWC),
        alone=[(90.0, {"memory_format": "channels_last"}), (110.0, {"batch_size": 256})],
    )
    found = waterfall_of(made)
    by_change = {next(iter(stage.changes)): stage for stage in found.stages}
    assert by_change["memory_format"].alone.value == pytest.approx(0.9, rel=0.02)
    assert by_change["memory_format"].ratio.value == pytest.approx(2.0, rel=0.02)
    # The first step of a path is the same case on the path and alone.
    assert found.stages[0].alone.value == found.stages[0].ratio.value


def test_a_step_that_costs_speed_is_a_step_too_and_the_best_stage_is_before_it():
    made, _ = measured((150.0, TF32), (300.0, AMP), (600.0, NHWC), (300.0, LARGE))
    found = waterfall_of(made)
    assert found.stages[-1].ratio.value == pytest.approx(0.5, rel=0.02)
    assert found.best is found.stages[2]


def test_without_a_path_a_base_or_a_stage_there_is_none():
    made, _ = measured((150.0, TF32))
    assert waterfall(summarise_run(made.run())) is None
    assert waterfall_of(made, path=[{"seed": 7}]) is None
    broken, _ = measured((150.0, TF32))
    broken.drop(broken.planned[0], Status.OOM, "out of memory in warmup")
    assert waterfall_of(broken) is None


def test_one_launch_a_side_has_ratios_without_intervals():
    made, _ = measured((150.0, TF32), num=1)
    (stage,) = waterfall_of(made).stages
    assert stage.ratio.low is None
    assert stage.ratio.value == pytest.approx(1.5, rel=0.05)
