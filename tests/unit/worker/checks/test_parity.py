from types import SimpleNamespace

import pytest
import torch
from fakes import gpu_convolutions

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS, ParityLimits
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import OutputCheck, ParityProbe
from gpubench.worker.workloads.cnn import CNN, ReferenceCNN
from gpubench.worker.workloads.registry import resolve


@pytest.mark.parametrize("precision", ["fp32", "amp-fp16", "amp-bf16", "fp16", "bf16"])
@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_the_reference_cnn_passes_at_every_precision(precision, mode, memory_format):
    case = Case(precision=precision, mode=mode, memory_format=memory_format, data="digits")
    effective_settings.apply(case, torch)
    result = parity.check(resolve("cnn"), case, "cpu")
    assert result.passed
    assert 0 < result.logits_rel_error <= result.logits_limit
    assert result.num_samples == 8
    assert (result.gradient_rel_error is None) is (mode == "infer")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_network_with_batch_normalisation_errs_no_more_than_its_type_rounds(precision, mode):
    case = Case(workload="torchvision:resnet18", image_size=32, precision=precision, mode=mode)
    effective_settings.apply(case, torch)
    result = parity.check(resolve(case.workload), case, "cpu")
    assert result.passed
    assert result.logits_rel_error < result.logits_limit / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [("resnet50", "train"), ("efficientnet_b0", "infer"), ("mobilenet_v3_large", "train"), ("vit_b_32", "infer")],
)
def test_deep_networks_pass_in_bf16(name, mode):
    """On few pixels: a CPU without bf16 units is a hundred times slower in it."""
    case = Case(workload=f"torchvision:{name}", image_size=32, batch_size=2, precision="amp-bf16", mode=mode)
    effective_settings.apply(case, torch)
    result = parity.check(resolve(case.workload), case, "cpu")
    assert result.passed
    assert result.logits_rel_error > 1e-4


def test_the_limits_are_those_of_the_method():
    assert {name: spec.parity for name, spec in PRECISIONS.items()} == {
        "fp32": (2e-5, 1e-4),
        "tf32": (1e-2, 1e-3),
        "amp-fp16": (1.5e-2, 1e-3),
        "fp16": (1.5e-2, 1e-3),
        "amp-bf16": (8e-2, 1e-2),
        "bf16": (8e-2, 1e-2),
        "fp8": (1e-2, 1e-2),
    }


def test_bf16_sold_as_fp32_fails():
    """The mistake this check is for: a precision that is not the one on the label."""
    case = Case(precision="bf16", data="digits")
    probe = resolve("cnn").parity(case, "cpu")
    assert parity.judge(probe, PRECISIONS["bf16"].parity).passed
    assert not parity.judge(probe, PRECISIONS["fp32"].parity).passed


@pytest.mark.parametrize(
    ("workload", "size"), [("cnn", 28), pytest.param("torchvision:resnet18", 32, marks=pytest.mark.slow)]
)
def test_the_limit_of_fp32_tells_a_gpus_tf32_from_its_other_algorithms(monkeypatch, workload, size):
    """Winograd's rounds more than a sum of products does, and is still fp32."""
    case = Case(workload=workload, image_size=size, mode="infer", data="digits")
    effective_settings.apply(case, torch)
    images, weights = torch.randn(2, 3, 9, 10), torch.randn(5, 3, 3, 3)
    exact = torch.nn.functional.conv2d(images.double(), weights.double(), padding=1)
    assert parity.relative_l2(gpu_convolutions.winograd(images, weights, None), exact) < 1e-6
    gpu_convolutions.use(monkeypatch, "winograd")
    winograd = parity.check(resolve(workload), case, "cpu")
    assert 0 < winograd.logits_rel_error < winograd.logits_limit / 10
    assert winograd.passed
    monkeypatch.undo()
    gpu_convolutions.use(monkeypatch, "tf32")
    tf32 = parity.check(resolve(workload), case, "cpu")
    assert tf32.logits_rel_error > 10 * tf32.logits_limit
    assert not tf32.passed


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_compiled_case_is_checked_as_it_was_compiled(monkeypatch, mode):
    """With its own batch: kernels for another are others, and compiling them takes as long again."""
    real, batches = torch.compile, []

    def counting(graph, inputs):
        batches.extend(each.shape[0] for each in inputs if each.shape[-2:] == (8, 8))
        return graph.forward

    monkeypatch.setattr(
        torch, "compile", lambda model, *, mode, dynamic: real(model, backend=counting, dynamic=dynamic)
    )

    class Own(ReferenceCNN):  # torch counts compilations of a forward for the whole process
        def forward(self, images_NCHW):
            return super().forward(images_NCHW)

    class OwnWorkload(CNN):
        def make_model(self, case):
            return Own(self.num_classes(case), self.image_size(case))

    case = Case(mode=mode, compile="default", batch_size=24, image_size=8, data="synthetic")
    effective_settings.apply(case, torch)
    workload = OwnWorkload()
    workload.build(case, torch.device("cpu"))()
    workload.close()
    result = parity.check(workload, case, torch.device("cpu"))
    assert batches == [24]
    assert (result.passed, result.num_samples) == (True, 8)


class Skipping(ReferenceCNN):
    """Leaves out the second ReLU in float32: faster, and wrong."""

    def forward(self, images_NCHW):
        if images_NCHW.dtype is torch.float64:
            return super().forward(images_NCHW)
        features = self.pool(torch.relu(self.conv1(images_NCHW)))
        return self.fc(torch.flatten(self.pool(self.conv2(features)), 1))


class SkippingWorkload(CNN):
    def make_model(self, case):
        return Skipping(self.num_classes(case), self.image_size(case))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fast_but_wrong_fails_at_every_precision(precision):
    result = parity.check(SkippingWorkload(), Case(precision=precision, data="digits"), "cpu")
    assert not result.passed


def probe_of(logits, reference, gradient=None, reference_gradient=None):
    loss = torch.tensor(1.0, dtype=torch.float64)
    return ParityProbe(logits, loss, gradient, reference, loss, reference_gradient, num_samples=1)


def test_the_error_is_the_relative_l2_norm():
    probe = probe_of(torch.tensor([[3.0, 4.1]]), torch.tensor([[3.0, 4.0]]))
    result = parity.judge(probe, ParityLimits(0.1, 0.1))
    assert result.logits_rel_error == pytest.approx(0.1 / 5, rel=1e-5)
    assert result.loss_rel_error == 0


@pytest.mark.parametrize(("dtype", "passed"), [(torch.float64, False), (torch.float32, False), (torch.bfloat16, True)])
def test_a_loss_of_two_bytes_may_differ_as_much_as_logits(dtype, passed):
    outputs = torch.ones(1, 2)
    probe = ParityProbe(
        outputs, torch.tensor(1.0625, dtype=dtype), None, outputs, torch.tensor(1.0), None, num_samples=1
    )
    result = parity.judge(probe, ParityLimits(0.08, 0.01))
    assert (result.passed, result.loss_limit) == (passed, 0.08 if passed else 0.01)


def test_the_gradient_is_reported_without_a_limit():
    gradient = torch.ones(4)
    result = parity.judge(probe_of(torch.ones(1, 2), torch.ones(1, 2), -gradient, gradient), ParityLimits(1e-9, 1e-9))
    assert result.passed
    assert result.gradient_rel_error == 2.0


@pytest.mark.parametrize(
    "logits", [torch.full((1, 2), float("nan")), torch.full((1, 2), float("inf")), torch.ones(1, 3)]
)
def test_nan_infinity_and_another_shape_fail(logits):
    result = parity.judge(probe_of(logits, torch.ones(1, 2)), ParityLimits(1e9, 1e9))
    assert not result.passed
    assert result.logits_rel_error == float("inf")


@pytest.mark.parametrize(("draws", "unverified"), [((1.0, 1.0, 2.0), True), ((1.0,), False)])
def test_a_model_that_draws_one_of_few_widths_is_unverified(draws, unverified):
    class Draws:
        drawn = iter(draws)

        def parity(self, case, device):
            logits = torch.full((1, 2), next(self.drawn, 1.0))
            return ParityProbe(logits, None, None, torch.full((1, 2), 3.0), None, None, num_samples=1, again_NC=logits)

    assert isinstance(parity.check(Draws(), Case(), "cpu"), str) == unverified


@pytest.mark.parametrize(("change", "codes"), [(0.0, ["GB317"]), (0.01, ["GB317"]), (0.3, ["GB306"])])
def test_outputs_that_depend_on_what_came_before_are_unverified(monkeypatch, change, codes):
    launch = SimpleNamespace(job=SimpleNamespace(parity=True), findings=[])
    monkeypatch.setattr(optional_facts, "check_outputs", lambda workload, device: OutputCheck(1.0, change, 8))
    parity.check_outputs(launch, None, Case(precision="bf16"), "cpu")
    assert [found.code for found in launch.findings] == codes


def test_a_workload_without_parity_is_unverified():
    class Bare:
        def build(self, case, device):
            return lambda: None

    assert "offers no reference output" in parity.check(Bare(), Case(), "cpu")


def test_parity_needs_no_built_step_and_leaves_a_built_one_alone(built):
    workload, step, case = built()
    step()
    weights = workload.model.fc.weight.detach().clone()
    parity.check(workload, case, "cpu")
    assert torch.equal(workload.model.fc.weight, weights)
    workload.close()
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "amp-fp16", "amp-bf16", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["cnn", "torchvision:resnet50", "torchvision:efficientnet_b0", "torchvision:vit_b_32"])
def test_a_gpu_computes_what_fp64_computes(precision, name):
    case = Case(workload=name, device="cuda", precision=precision, image_size=96, memory_format="channels_last")
    effective_settings.apply(case, torch)
    assert parity.check(resolve(name), case, "cuda").passed
