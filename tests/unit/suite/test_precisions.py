"""A precision is one entry: everything else that knows precisions is made from the table."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gpubench
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import LEGEND_ORDER, PRECISIONS

PACKAGE = Path(gpubench.__file__).parent

ADD_ONE = """
from gpubench.suite.model import precisions

new = precisions.PRECISIONS["amp-bf16"]._replace(
    name="amp-new", colour=("#010203", "#040506"), mark="stroke", scaled=True, synonyms=("newest",), generation=None
)
precisions.PRECISIONS[new.name] = new
precisions.LEGEND_ORDER = (*precisions.LEGEND_ORDER, new.name)

import torch
from gpubench.profile.figures import trace_findings
from gpubench.report.drawing import palette
from gpubench.suite.model.case import Case
from gpubench.suite.model.settings import choices
from gpubench.suite.model.mistake_messages import near_word
from gpubench.tools.schemas import suite_schema
from gpubench.worker.checks.unsupported import unsupported
from gpubench.worker.workloads.numerics import NUMERICS

assert Case(precision="amp-new").settings["precision"] == "amp-new"
assert "amp-new" in choices("precision")
assert "amp-new" in suite_schema()["$defs"]["Settings"]["properties"]["precision"]["enum"]
assert NUMERICS["amp-new"] == (torch.float32, torch.bfloat16, True)
assert palette.tokens(dark=False)["--c-amp-new"] == "#010203" and palette.SHAPES["amp-new"] == "stroke"
assert near_word("newest", choices("precision")) == "did you mean 'amp-new'?"
assert new.ceiling == "bf16" and new.reduced
assert "GradScaler" in unsupported(Case(precision="amp-new", cuda_graph=True))
"""


@pytest.mark.slow
def test_a_new_precision_needs_only_its_entry():
    subprocess.run([sys.executable, "-c", ADD_ONE], check=True, timeout=120)


def test_no_other_module_names_autocast_precisions():
    texts = {str(file.relative_to(PACKAGE)): file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    named = {
        name
        for name, text in texts.items()
        if "amp-fp16" in text or "amp-bf16" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and node.value in ("amp-fp16", "amp-bf16")
    }
    assert named == {"suite/model/precisions.py"}


def test_every_precision_is_its_own_ceiling_or_that_of_its_autocast_type():
    assert {name: spec.ceiling for name, spec in PRECISIONS.items()} == {
        "fp32": "fp32",
        "tf32": "tf32",
        "fp16": "fp16",
        "bf16": "bf16",
        "amp-fp16": "fp16",
        "amp-bf16": "bf16",
        "fp8": "fp8",
    }


def test_only_strict_fp32_is_not_reduced():
    assert [name for name, spec in PRECISIONS.items() if not spec.reduced] == ["fp32"]


def test_legends_list_autocast_last():
    assert LEGEND_ORDER == ("fp32", "tf32", "fp16", "bf16", "fp8", "amp-fp16", "amp-bf16")


def test_the_default_is_strict_fp32():
    assert PRECISIONS[Case().precision].math == "ieee"
