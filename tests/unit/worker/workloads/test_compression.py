"""Compressed models: what their weights and operators are is read back, and what cannot be done is refused."""

import importlib.util

import pytest
import torch
from torch import nn

from gpubench.core.records import Status
from gpubench.protocol.messages import Hello, Job
from gpubench.runner.plan import cannot_run
from gpubench.suite.cases.expand import quality_cases
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings, Suite
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity, work_counts
from gpubench.worker.quality.train_case import train
from gpubench.worker.workloads.base import Missing, Unsupported
from gpubench.worker.workloads.cnn import CNN
from gpubench.worker.workloads.supervised import compression
from gpubench.worker.workloads.watched_steps import observe

INT8 = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs gpubench[compression]")
KINDS = ["none", pytest.param("int8-weight", marks=INT8), pytest.param("int8-dynamic", marks=INT8), "prune-50"]


def case_of(kind, **settings):
    return Case(workload="cnn", mode="infer", batch_size=4, compress=kind, **settings)


def built(kind, **settings):
    case, workload = case_of(kind, **settings), CNN()
    step = workload.build(case, "cpu")
    step()
    return case, workload, step


def wrong(case, effective):
    found = effective_settings.mismatches(case, None, effective)
    return [each for each in found if each.data["setting"] == "compress"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_compression_that_ran_is_read_from_the_model(kind):
    case, workload, _ = built(kind)
    effective = effective_settings.read_back(case, workload.probe(), "cpu")
    assert effective.read("compress") == kind
    assert effective.precision == "fp32"
    assert wrong(case, effective) == []


def test_a_model_that_lost_its_compression_is_a_mismatch():
    case, workload, _ = built("prune-50")
    for layer in workload.model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight)
    effective = effective_settings.read_back(case, workload.probe(), "cpu")
    (found,) = wrong(case, effective)
    assert found.message.startswith("compress was none after the measured steps; prune-50 was asked for")


@INT8
def test_int8_weights_take_a_quarter_of_the_linear_layers_bytes():
    sizes = {kind: built(kind)[1].probe()["extra"]["compressed"] for kind in ("none", "int8-weight")}
    linear = 1568 * 10
    saved = sizes["none"]["model_bytes"] - sizes["int8-weight"]["model_bytes"]
    assert 0 < 3 * linear - saved <= 10 * 8, "a scale, and perhaps a zero point, for each of ten outputs"
    assert sizes["int8-weight"]["layer_types"] == {"Linear": 1}


@INT8
def test_only_dynamic_int8_multiplies_integers():
    seen = {kind: built(kind)[1].probe()["extra"]["product_dtypes"] for kind in ("int8-weight", "int8-dynamic")}
    assert set(seen["int8-weight"]) == {"float32"}
    assert all("int8" in each for each in seen["int8-dynamic"])


@pytest.mark.parametrize(
    ("device", "shape", "changes"), [("cuda", (16, 8), True), ("cuda", (10, 8), False), ("cpu", (10, 8), True)]
)
def test_dynamic_int8_leaves_layers_that_torchao_would_compute_on_the_cpu(device, shape, changes):
    weight = type("Weight", (), {"device": torch.device(device), "shape": shape})
    assert compression._multiplies_int8(weight) is changes


def test_half_of_every_layers_weights_are_the_smallest_and_become_zero():
    model = nn.Sequential(nn.Linear(8, 8), nn.Conv2d(1, 4, 3))
    before = [layer.weight.detach().clone() for layer in model]
    compression.compress(model, "prune-50")
    for layer, old in zip(model, before, strict=True):
        gone = layer.weight == 0
        assert gone.sum() == old.numel() // 2
        assert old[gone].abs().max() <= old[~gone].abs().min()


def test_two_of_every_four_weights_stay():
    model = nn.Sequential(nn.Linear(64, 16))
    (mask,) = compression.masks(model, "sparse-2to4").values()
    assert (mask.reshape(-1, 4).sum(1) == 2).all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_compressed_model_is_compared_with_the_values_it_holds(kind):
    case = case_of(kind)
    found = parity.check(CNN(), case, torch.device("cpu"))
    assert found.passed
    assert found.logits_limit == (8e-2 if kind == "int8-dynamic" else 2e-5)


def test_products_of_integers_are_no_flops_and_the_reason_is_given():
    assert work_counts.count_flops(CNN(), case_of("prune-50")).per_sample > 0
    assert work_counts.count_flops(CNN(), case_of("int8-dynamic")).reason == (
        "products of int8 are no floating-point operations"
    )
    assert work_counts.count_bytes(CNN(), case_of("int8-weight")).per_sample is None


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"compress": "prune-50", "mode": "train"}, "measured in inference"),
        ({"compress": "sparse-2to4", "mode": "infer"}, "2:4 kernels need a CUDA device"),
    ],
)
def test_what_cannot_be_measured_compressed_is_refused_with_the_reason(settings, why):
    with pytest.raises(Unsupported, match=why):
        CNN().build(Case(workload="cnn", **settings), "cpu")


def test_a_model_without_such_a_layer_is_refused():
    with pytest.raises(Unsupported, match="no layer that `compress: prune-50` changes"):
        compression.compress(nn.Sequential(nn.ReLU()), "prune-50")


def test_without_torchao_the_case_is_skipped_with_the_command_that_helps(monkeypatch):
    found = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "torchao" else found(name, *rest)  # noqa: E731
    monkeypatch.setattr("gpubench.suite.model.workload_names.find_spec", absent)
    monkeypatch.setattr("gpubench.worker.workloads.base.find_spec", absent)
    suite = Suite.model_validate({"schema": 1, "name": "c"})
    hello = Hello.model_construct(nodes=(), devices=())
    expected = "torchao is not installed: pip install 'gpubench[compression]'"
    assert cannot_run(case_of("int8-weight"), suite, hello) == (Status.SKIPPED, expected)
    assert cannot_run(case_of("prune-50"), suite, hello) == (None, None)
    with pytest.raises(Missing, match="pip install 'gpubench\\[compression\\]'"):
        CNN().build(case_of("int8-dynamic"), "cpu")


def test_compressed_inference_cases_are_trained_and_the_plain_one_with_them():
    suite = Suite.model_validate({"schema": 1, "name": "c", "quality": {"data": "digits"}})
    trained = quality_cases(suite, [case_of("none"), case_of("prune-50")])
    assert [(case.mode, case.compress) for case in trained] == [("train", "none"), ("train", "prune-50")]
    assert quality_cases(suite, [case_of("none")]) == ()


@pytest.mark.parametrize("kind", ["prune-50", pytest.param("int8-weight", marks=INT8)])
def test_the_trained_model_is_compressed_before_its_test(kind):
    asked = QualitySettings(epochs=1, data="digits")
    case = case_of(kind).model_copy(update={"mode": "train", "data": "digits"})
    job = Job.model_construct(case=case, quality=asked, seed=0, search_path=(), download=False)
    seen = []

    def look(workload, told):
        facts = compression.facts(workload.model, observe(lambda: workload.model(torch.zeros(2, 3, 28, 28))))
        seen.append((told.compress, facts["compress"]))

    found = train(job, "cpu", look=look)
    assert seen == [("none", "none"), (kind, kind)]
    assert found.score > 0.5, "it still knows the digits"
