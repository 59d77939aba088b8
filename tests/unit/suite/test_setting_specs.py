"""A setting is one field with one record: everything else that knows settings is made from these."""

import subprocess
import sys

import pytest

from gpubench.suite.model.case import SPECS

ADD_ONE = """
from typing import Annotated

from pydantic import Field

from gpubench.suite.model import case as model
from gpubench.suite.model.setting_spec import SettingSpec, always

TILE = SettingSpec(
    "tile", label=lambda value: f"t{value}", cell=lambda value: f"{value} px", in_process=True, read_back=always,
    cause="The kernel takes powers of two.", if_differs="refused", effect=True, accuracy=True, synonyms=("block",),
)


class Case(model.Case):
    tile: Annotated[int, TILE] = Field(1, ge=1, description="Size of a tile.")


model.Case = Case
model.SPECS["tile"] = TILE

from gpubench.analysis.compare.run_sides import _EFFECTIVE_REFUSED
from gpubench.analysis.insight.factor_effects import FACTORS
from gpubench.analysis.summary.case_summary import flat_effective
from gpubench.core.records import Effective
from gpubench.report.model.words import title, word
from gpubench.runner.arms.arm import why_not_blocks
from gpubench.suite.cases.labels import label_cases
from gpubench.suite.cases.expand import ACCURACY_FOLLOWS
from gpubench.suite.model.settings import SETTINGS, is_number, normal
from gpubench.suite.model.mistake_messages import near_word
from gpubench.tools.suite_reference import suite_reference
from gpubench.tools.schemas import suite_schema
from gpubench.worker.effective_settings import mismatches

assert SETTINGS[-1] == "tile" and normal("tile", "4") == 4 and is_number("tile")
assert label_cases([Case(), Case(tile=4)]) == ("t1", "t4")
assert (title("tile"), word("tile", 4)) == ("tile", "4 px")
assert why_not_blocks({"base": Case(), "head": Case(tile=4)}) is None
assert FACTORS["tile"] is None and "tile" in ACCURACY_FOLLOWS
assert near_word("block", SETTINGS) == "did you mean 'tile'?"
assert suite_schema()["$defs"]["Settings"]["properties"]["tile"]["minimum"] == 1
assert "| `tile` | number | `1` | Size of a tile. |" in suite_reference()
wrong = Effective(precision="fp32", extra={"tile": 2})
assert flat_effective(wrong)["tile"] == 2 and _EFFECTIVE_REFUSED.fullmatch("tile")
(found,) = mismatches(Case(tile=4), wrong, None)
assert (found.code, found.data["asked"], found.data["got"]) == ("GB301", 4, 2)
assert found.hint == "The kernel takes powers of two."
"""


@pytest.mark.slow
def test_a_new_setting_needs_only_its_field():
    subprocess.run([sys.executable, "-c", ADD_ONE], check=True, timeout=120)


def names(fits):
    return [name for name, spec in SPECS.items() if fits(spec)]


def test_every_setting_has_a_title_and_a_label():
    assert all(spec.title and spec.label for spec in SPECS.values())


def test_arms_alternate_in_one_process_only_in_what_a_build_brings():
    apart = names(lambda spec: not spec.in_process)
    assert apart == [
        "workload",
        "mode",
        "device",
        "data",
        "data_root",
        "num_workers",
        "timing",
        "cpu_threads",
        "world_size",
        "strategy",
        "scaling",
        "micro_batches",
        "backend",
        "seed",
        "env",
        "python",
    ]


def test_sides_that_computed_something_else_are_refused():
    refused = names(lambda spec: spec.if_differs == "refused")
    assert refused == [
        "precision",
        "batch_size",
        "memory_format",
        "compile",
        "cuda_graph",
        "data_path",
        "optimizer",
        "framework",
        "compress",
    ]


def test_what_may_change_accuracy_is_trained_apart():
    learned = names(lambda spec: spec.accuracy)
    assert learned == [
        "workload",
        "device",
        "precision",
        "data",
        "data_root",
        "image_size",
        "input",
        "loss",
        "params",
        "compress",
        "seed",
        "env",
        "python",
    ]


def test_effects_are_reported_for_what_may_change_speed():
    assert names(lambda spec: not spec.effect) == (
        [
            "workload",
            "mode",
            "shape",
            "data",
            "data_root",
            "num_classes",
            "input",
            "loss",
            "params",
            "learning_rate",
            "timing",
            "world_size",
            "strategy",
            "scaling",
            "micro_batches",
            "backend",
            "seed",
            "env",
            "python",
        ]
    )
