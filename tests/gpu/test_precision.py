"""What a precision's name promises, seen in results of the device itself."""

import pytest
from fakes.hosting import QUICK

pytestmark = pytest.mark.gpu

SIZE = 1024
FP32_ERROR_AT_MOST = 1e-5
TF32_ERROR_AT_LEAST = 1e-4


def _result(host, **settings):
    messages, exited = host.run("cnn", device="cuda", **{"data": "digits", "measure": QUICK, **settings})
    assert exited.exit_code == 0
    assert messages[-1].type == "result", messages[-1]
    return messages[-1]


def _matmul_error(torch, case):
    """Relative L2 error of a matrix product against fp64, under the settings of `case`."""
    from gpubench.worker import effective_settings as settings

    settings.apply(case, torch)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))
    exact = first.double() @ second.double()
    found = (first.cuda() @ second.cuda()).cpu().double()
    return float((found - exact).norm() / exact.norm())


def test_tf32_is_off_under_fp32_and_on_under_tf32(torch_cuda):
    from gpubench.suite.model.case import Case

    if torch_cuda.cuda.get_device_capability() < (8, 0):
        pytest.skip("this card has no TF32")
    strict = _matmul_error(torch_cuda, Case(device="cuda", precision="fp32"))
    loose = _matmul_error(torch_cuda, Case(device="cuda", precision="tf32"))
    assert strict < FP32_ERROR_AT_MOST
    assert loose > TF32_ERROR_AT_LEAST
    assert _matmul_error(torch_cuda, Case(device="cuda", precision="fp32")) == pytest.approx(strict, rel=0.5)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("fp32", "float32"),
        ("tf32", "float32"),
        ("amp-fp16", "float16"),
        ("amp-bf16", "bfloat16"),
        ("fp16", "float16"),
        ("bf16", "bfloat16"),
    ],
)
def test_a_forward_computes_in_the_type_that_the_precision_names(host, precision, dtype):
    effective = _result(host, precision=precision).effective
    assert effective.compute_dtype == dtype
    assert effective.precision == precision


@pytest.mark.parametrize("precision", ["fp32", "tf32", "amp-fp16", "amp-bf16"])
def test_outputs_agree_with_fp64_within_the_limit_of_the_precision(host, precision):
    parity = _result(host, precision=precision, parity=True).parity
    assert parity is not None
    assert parity.passed, parity


def test_gradscaler_skips_a_step_whose_gradients_overflow(torch_cuda):
    from gpubench.worker.workloads.supervised.optimizers import CountingScaler

    torch = torch_cuda
    device = torch.device("cuda")
    weight = torch.nn.Parameter(torch.ones(8, device=device))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = CountingScaler(device)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.count(optimizer)
        scaler.update()
    assert scaler.num_skipped == 1
    assert bool(torch.isfinite(weight).all())


def test_steps_that_gradscaler_skipped_are_counted_in_the_record(host):
    result = _result(host, precision="amp-fp16")
    assert result.metrics["scaler_skipped_steps"] is not None


@pytest.mark.parametrize("settings", [{"cuda_graph": True}, {"compile": "default"}, {"memory_format": "channels_last"}])
def test_a_graph_a_compiler_and_a_layout_change_the_speed_and_not_the_result(host, settings):
    from gpubench.worker.workloads.compiled import no_compiler

    if "compile" in settings and (reason := no_compiler("cuda")):
        pytest.skip(reason)
    parity = _result(host, precision="fp32", parity=True, **settings).parity
    assert parity is not None
    assert parity.passed, parity


def test_a_graph_trains_as_the_eager_step_does(torch_cuda):
    """A graph replays the batch that it was captured with, after steps of warm-up: the eager step is given the same."""
    from gpubench.suite.model.case import Case
    from gpubench.worker import effective_settings as settings
    from gpubench.worker.workloads.cnn import CNN
    from gpubench.worker.workloads.supervised.batches import Resident
    from gpubench.worker.workloads.supervised.steps import WARMUP_STEPS

    losses = {}
    for graphed in (False, True):
        case = Case(device="cuda", cuda_graph=graphed, data="digits", optimizer="sgd", cudnn_deterministic=True)
        settings.apply(case, torch_cuda)
        workload = CNN()
        step = workload.build(case, torch_cuda.device("cuda"))
        if not graphed:
            step.source = Resident(workload.source.batches[:1])
            for _ in range(WARMUP_STEPS):
                step()
        losses[graphed] = [float(step()) for _ in range(200)]
        workload.close()
    assert losses[False][-1] < 0.8 * losses[False][0]
    assert losses[True] == pytest.approx(losses[False], rel=0.1, abs=0.03)


def test_deterministic_mode_repeats_bit_for_bit(torch_cuda):
    from gpubench.suite.model.case import Case
    from gpubench.worker import effective_settings as settings
    from gpubench.worker.workloads.cnn import CNN

    seen = []
    for _ in range(2):
        case = Case(device="cuda", data="digits", cudnn_deterministic=True)
        settings.apply(case, torch_cuda)
        workload = CNN()
        step = workload.build(case, torch_cuda.device("cuda"))
        for _ in range(20):
            step()
        seen.append([parameter.detach().cpu().clone() for parameter in workload.model.parameters()])
        workload.close()
    assert all(bool((a == b).all()) for a, b in zip(*seen, strict=True))


def test_cudnn_settings_do_not_leak_from_one_case_into_the_next(host):
    first = _result(host, cudnn_benchmark=True, cudnn_deterministic=False).effective
    second = _result(host, cudnn_benchmark=False, cudnn_deterministic=True).effective
    third = _result(host).effective
    assert (first.cudnn_benchmark, first.cudnn_deterministic) == (True, False)
    assert (second.cudnn_benchmark, second.cudnn_deterministic) == (False, True)
    assert (third.cudnn_benchmark, third.cudnn_deterministic) == (False, False)


def test_training_on_the_device_reaches_the_accuracy_of_the_cpu(host):
    from gpubench.suite.model.suite import QualitySettings

    messages, _ = host.run("cnn", device="cuda", data="digits", kind="quality", quality=QualitySettings(epochs=8))
    assert messages[-1].type == "result", messages[-1]
    assert messages[-1].quality.accuracy >= 0.93
