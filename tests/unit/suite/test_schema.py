import json
from pathlib import Path

import jsonschema
import pytest

from gpubench.suite.read.problems import SourceText
from gpubench.suite.read.shipped import shipped_suites
from gpubench.suite.read.yaml_document import plain, read_yaml
from gpubench.tools.schemas import suite_schema
from gpubench.tools.suite_reference import suite_reference

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft202012Validator(suite_schema())


def mistakes(text):
    return [
        error.json_path for error in VALIDATOR.iter_errors(plain(read_yaml(text, SourceText.of_text("suite", text))[0]))
    ]


def test_the_stored_schema_is_current():
    """Make it anew with `make schemas`."""
    assert json.loads((ROOT / "schemas" / "suite-1.json").read_text()) == suite_schema()


def test_the_reference_is_current():
    """Make it anew with `make schemas`."""
    assert (ROOT / "docs" / "suite-reference.md").read_text() == suite_reference()


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(suite_schema())


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites_conform(name):
    assert mistakes(shipped_suites()[name].read_text()) == []


HEAD = "schema: 1\nname: x\n"


@pytest.mark.parametrize(
    "body",
    [
        (
            "matrix: {batch_size: {pow2: [5, 10]}, precision: [fp32], cudnn_benchmark: [on, off], "
            "compile: [off, true], env: [{}, {A: 1}]}"
        ),
        (
            "matrix: {batch_size: [max, 3], memory_format: [NCHW, channels_last], "
            "image_size: [null, 28], python: [null, /x]}"
        ),
        (
            "exclude: [{device: [cpu, cuda:1], batch_size: 3}]\n"
            "include: [{mode: infer}]\nbaseline: {precision: [fp32, tf32]}"
        ),
        "when: [{if: {precision: [fp32, tf32]}, set: {memory_format: NHWC}}]",
        "measure: {min_time: 2s, max_time: 30, target_rel_ci: 0.5%, telemetry: off}",
        "quality: off",
        "quality: {data: digits, learning_rate: 1e-3, max_accuracy_drop: 1pp, target_accuracy: 0.9}",
        "quality: {learning_rate: [1e-3, 1e-2]}",
        "gates: [{metric: throughput, max_regression: 3%, where: {mode: train}}, {metric: status, no_new: [oom]}]",
        "defaults:\nmatrix:\nquality:\nrequires: cuda\n",
    ],
)
def test_what_a_suite_may_say_conforms(body, parsed):
    assert mistakes(HEAD + body) == []
    assert (
        parsed(body if "quality: {learning_rate" not in body else body + "\ndefaults: {data: digits}").suite.name
        == "demo"
    )


@pytest.mark.parametrize(
    "body",
    [
        "matrx: {}",
        "matrix: {precision: fp32}",
        "matrix: {precision: [fp61]}",
        "matrix: {batchsize: [1]}",
        "matrix: {precision: {pow2: [1, 2]}}",
        "matrix: {batch_size: {pow2: [1]}}",
        "exclude: {device: cpu}",
        "include: [{batch_size: [1, 2]}]",
        "when: [{if: {}}]",
        "measure: {min_tme: 1s}",
        "measure: {repeats: 0}",
        "gates: [{metric: thrughput}]",
        "quality: {epochs: 0}",
        "defaults: {batch_size: 0}",
        "baseline: {device: tpu}",
    ],
)
def test_an_editor_sees_a_mistake(body):
    assert mistakes(HEAD + body)


def test_an_editor_sees_what_is_missing():
    assert mistakes("schema: 1") == ["$"]
    assert mistakes("schema: 3\nname: x") == ["$.schema"]
