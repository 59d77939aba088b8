"""The reference CNN in other frameworks' loops trains as in the plain one, and what they cannot do is refused."""

import importlib.util
import os

import pytest
import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Missing, Unsupported
from gpubench.worker.workloads.cnn import CNN

CPU = torch.device("cpu")
NHWC = {"memory_format": "channels_last", "batch_size": 4}
needs_lightning = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None or importlib.util.find_spec("greenlet") is None,
    reason="pip install 'gpubench[lightning]'",
)
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="scripts/make_tensorflow_env.sh makes an interpreter with it"
)


def trained(framework, num_steps=6, **settings):
    """The weights after some steps of the framework's loop, and what was said of the steps."""
    workload = CNN()
    step = workload.build(Case(framework=framework, **settings), CPU)
    workload.reset_health()
    for _ in range(num_steps):
        step()
    health, probe = workload.health(), workload.probe()
    weights = [parameter.detach().clone() for parameter in workload.model.parameters()]
    workload.close()
    return weights, health, probe


@needs_lightning
@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"accumulate": 2},
        {"precision": "amp-bf16"},
        {"optimizer": "adam"},
        {"data_path": "loader", "data": "digits"},
    ],
    ids=str,
)
def test_lightning_trains_bit_for_bit_as_the_plain_loop(settings):
    plain, _, _ = trained("loop", batch_size=4, **settings)
    theirs, health, probe = trained("lightning", batch_size=4, **settings)
    assert all(torch.equal(one, other) for one, other in zip(plain, theirs, strict=True))
    assert (health.optimizer_steps, health.finite, health.parameters_moved) == (6, True, True)
    assert probe["extra"]["framework"] == "lightning"


@needs_lightning
def test_a_loss_that_is_not_finite_is_seen_in_lightnings_loop():
    workload = CNN()
    step = workload.build(Case(framework="lightning", batch_size=4), CPU)
    step()
    assert workload.health().finite
    with torch.no_grad():
        workload.model.fc.bias.fill_(torch.nan)
    step()
    assert not workload.health().finite
    workload.close()


@needs_lightning
def test_lightning_leaves_the_environment_to_the_other_arms(monkeypatch):
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    trained("lightning", batch_size=4, num_steps=1)
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ


@needs_tensorflow
@pytest.mark.parametrize(("optimizer", "within"), [("sgd", 1e-5), ("adam", 2e-3), ("adamw", 2e-3)])
def test_tensorflow_trains_as_torch_does(optimizer, within):
    plain, _, _ = trained("loop", optimizer=optimizer, **NHWC)
    theirs, health, probe = trained("tensorflow", optimizer=optimizer, **NHWC)
    for one, other in zip(plain, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=within, rtol=within)
    assert (health.optimizer_steps, health.finite, health.parameters_moved) == (6, True, True)
    assert probe["extra"]["framework"] == "tensorflow"


@needs_tensorflow
def test_the_first_steps_loss_is_the_same_in_tensorflow():
    losses = [float(CNN().build(Case(framework=name, **NHWC), CPU)()) for name in ("loop", "tensorflow")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@needs_tensorflow
def test_parity_is_that_of_what_tensorflow_computes():
    probe = CNN().parity(Case(framework="tensorflow", **NHWC), CPU)
    assert 0 < torch.linalg.vector_norm(probe.logits_NC - probe.reference_logits_NC) < 1e-5
    assert 0 < torch.linalg.vector_norm(probe.gradient - probe.reference_gradient) < 1e-5


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"framework": "lightning", "mode": "infer"}, "in training"),
        ({"framework": "lightning", "precision": "amp-fp16"}, "GradScaler"),
        ({"framework": "lightning", "cuda_graph": True}, "CUDA graph"),
        ({"framework": "tensorflow", **NHWC, "mode": "infer"}, "in training"),
        ({"framework": "tensorflow", **NHWC, "precision": "amp-bf16"}, "fp32"),
        ({"framework": "tensorflow", **NHWC, "compile": "default"}, "tf.function"),
        ({"framework": "tensorflow", "batch_size": 4}, "channels_last"),
        ({"framework": "tensorflow", **NHWC, "data_path": "pageable"}, "resident"),
    ],
)
def test_what_a_framework_does_not_measure_is_refused_with_the_reason(settings, reason):
    with pytest.raises(Unsupported, match=reason):
        CNN().build(Case(**settings), CPU)


def test_a_model_that_is_not_written_for_tensorflow_is_refused():
    from gpubench.worker.workloads.resnet9 import CifarNet

    with pytest.raises(Unsupported, match="not written for tensorflow"):
        CifarNet().build(Case(workload="resnet9", framework="tensorflow", **NHWC), CPU)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_the_case_says_how_to_get_it():
    with pytest.raises(Missing, match="make_tensorflow_env"):
        CNN().build(Case(framework="tensorflow", **NHWC), CPU)
