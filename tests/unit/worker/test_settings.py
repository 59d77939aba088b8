import itertools
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from gpubench.core.records import Effective
from gpubench.suite.model.case import Case
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.checks import unsupported
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.watched_steps import observe


def effective_of(workload, case, step=lambda: None):
    return effective_settings.read_back(case, optional_facts.probe(workload, case, step), case.device)


def disagreeing(case, before, after=None):
    return {found.data["setting"]: found for found in effective_settings.mismatches(case, before, after)}


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
def test_tf32_is_off_when_it_is_not_asked_for(precision):
    for name in effective_settings.MATH:
        effective_settings._backend(torch, name).fp32_precision = "tf32"
    case = Case(precision=precision)
    effective_settings.apply(case, torch)
    effective = effective_settings.read_back(case, None, "cpu")
    assert effective.math == {
        "cuda.matmul": "ieee",
        "cudnn.conv": "ieee",
        "cudnn.rnn": "ieee",
        "mkldnn.matmul": "ieee",
        "mkldnn.conv": "ieee",
        "mkldnn.rnn": "ieee",
    }


def test_tf32_is_on_for_every_cuda_operation_when_asked_for():
    effective_settings.apply(Case(precision="tf32"), torch)
    math = effective_settings.read_back(Case(precision="tf32"), None, "cpu").math
    assert {name: mode for name, mode in math.items() if not name.startswith("mkldnn")} == {
        "cuda.matmul": "tf32",
        "cudnn.conv": "tf32",
        "cudnn.rnn": "tf32",
    }


@pytest.mark.parametrize(("precision", "older"), [("tf32", "high"), ("fp32", "highest"), ("amp-bf16", "highest")])
def test_torchs_older_switches_say_the_same(precision, older):
    """Reading one that contradicts raises, and torch's compiler reads them."""
    effective_settings.apply(Case(precision=precision), torch)
    assert torch.get_float32_matmul_precision() == older
    assert torch._C._get_cublas_allow_tf32() is (precision == "tf32")
    assert torch._C._get_cudnn_allow_tf32() is (precision == "tf32")


def test_looking_at_a_step_tunes_nothing():
    torch.backends.cudnn.benchmark = True
    seen = []
    observe(lambda: seen.append(torch.backends.cudnn.benchmark))
    assert (set(seen), torch.backends.cudnn.benchmark) == ({False}, True)


@pytest.mark.parametrize("value", [True, False])
def test_cudnn_settings_are_set_and_read_back(value):
    case = Case(cudnn_enabled=value, cudnn_benchmark=value, cudnn_deterministic=value)
    effective_settings.apply(case, torch)
    effective = effective_settings.read_back(case, None, "cpu")
    assert (effective.cudnn_enabled, effective.cudnn_benchmark, effective.cudnn_deterministic) == (value, value, value)


def test_threads_and_seed_are_set_and_read_back():
    case = Case(cpu_threads=2, seed=2**40 + 7)
    effective_settings.apply(case, torch)
    effective = effective_settings.read_back(case, None, "cpu")
    assert (effective.cpu_threads, effective.seed) == (2, 2**40 + 7)


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize(
    "asked",
    [
        {"precision": "fp32"},
        {"precision": "amp-bf16", "memory_format": "channels_last"},
        {"precision": "amp-fp16", "optimizer": "adam"},
        {"precision": "bf16", "optimizer": "adamw", "fused": True},
        {"precision": "fp16", "data_path": "loader", "num_workers": 1},
    ],
)
def test_what_took_effect_is_what_was_asked_for(built, mode, asked):
    effective_settings.apply(Case.model_validate(asked), torch)
    workload, step, case = built(mode=mode, cpu_threads=1, **asked)
    before = effective_of(workload, case)
    step()
    after = effective_of(workload, case)
    assert effective_settings.mismatches(case, before, after) == ()
    assert after.precision == case.precision
    assert after.training is (mode == "train")
    assert after.batch_size == case.batch_size


def test_a_flag_flipped_while_measuring_is_found(built):
    effective_settings.apply(Case(), torch)
    workload, step, case = built()
    before = effective_of(workload, case)
    step()
    torch.backends.cudnn.benchmark = True
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    found = disagreeing(case, before, effective_of(workload, case))
    assert set(found) == {"cudnn_benchmark", "math.mkldnn.matmul"} | ({"precision"} & set(found))
    assert found["cudnn_benchmark"].code == "GB301"
    assert found["cudnn_benchmark"].message == "cudnn_benchmark was on after the measured steps; off was asked for."
    assert found["cudnn_benchmark"].data == {"setting": "cudnn_benchmark", "asked": False, "got": True, "when": "after"}


def test_inference_left_in_training_mode_is_found(built):
    effective_settings.apply(Case(), torch)
    workload, _, case = built(mode="infer")
    workload.model.train()
    assert set(disagreeing(case, effective_of(workload, case))) == {"training"}


def test_a_layer_left_in_training_mode_is_found(built):
    workload, _, case = built(mode="infer")
    workload.model.pool.train()
    assert "training" in disagreeing(case, effective_of(workload, case))


def test_autocast_that_casts_nothing_is_found(built):
    """A known tool's CPU autocast is a no-op: the block is entered, and float32 is computed."""
    from contextlib import nullcontext

    effective_settings.apply(Case(precision="amp-bf16"), torch)
    workload, step, case = built(precision="amp-bf16")
    step.autocast = nullcontext
    found = disagreeing(case, effective_of(workload, case))
    assert found["precision"].data["asked"] == "amp-bf16"
    assert found["precision"].data["got"] == "fp32"


def test_a_model_in_another_layout_is_found(built):
    workload, _, case = built(memory_format="channels_last")
    workload.model.to(memory_format=torch.contiguous_format)
    found = disagreeing(case, effective_of(workload, case))
    assert found["memory_format"].data["got"] == "mixed"


def test_another_optimizer_is_found(built):
    workload, _, case = built(optimizer="adam")
    workload.optimizer = torch.optim.AdamW(workload.model.parameters())
    assert disagreeing(case, effective_of(workload, case))["optimizer"].data["got"] == "adamw"


class Custom:
    """A workload with nothing but `build`, which ignores the precision it is asked for."""

    def build(self, case, device):
        conv = torch.nn.Conv2d(3, 4, 3).to(device)
        images = torch.zeros(case.batch_size, 3, 8, 8, device=device)
        return lambda: conv(images)


def test_a_custom_workload_that_ignores_the_precision_is_found():
    case = Case(precision="bf16", batch_size=2)
    effective_settings.apply(case, torch)
    workload = Custom()
    effective = effective_of(workload, case, workload.build(case, "cpu"))
    assert effective.compute_dtype == "float32"
    found = disagreeing(case, effective)
    assert set(found) == {"precision"}
    assert "case.precision" in found["precision"].hint


def test_a_custom_workload_in_fp32_has_nothing_to_answer_for():
    case = Case(batch_size=2)
    effective_settings.apply(case, torch)
    workload = Custom()
    assert disagreeing(case, effective_of(workload, case, workload.build(case, "cpu"))) == {}


def test_products_that_no_precision_explains_are_called_so():
    modes, gpu = {"cuda.matmul": "tf32", "cudnn.conv": "tf32"}, SimpleNamespace(device=torch.device("cuda"))
    read = effective_settings._precision({"compute_dtype": "float32"}, {}, modes, {"matmul": None, "conv": None}, gpu)
    assert read == "fp32 with products in neither fp32 nor TF32 (torch says tf32)"


def test_the_environment_is_named_as_the_cause():
    case = Case(device="cuda")
    got = Effective(
        precision="fp32 with products in reduced (torch says ieee)",
        compute_dtype="float32",
        extra={"environment": {"NVIDIA_TF32_OVERRIDE": "1"}},
    )
    found = disagreeing(case, got)
    assert set(found) == {"precision"}
    assert found["precision"].hint.startswith("NVIDIA_TF32_OVERRIDE=1 in the environment")


@pytest.mark.parametrize(
    ("factor_kept", "expected"), [(1 + 2.0**-12, "ieee"), (1.0, "reduced"), (1 + 2.0**-11, None), (float("nan"), None)]
)
def test_reduced_products_are_told_from_their_results(factor_kept, expected):
    assert effective_settings._kept(factor_kept) == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_numeric_probe_sees_rounding_that_no_flag_shows(monkeypatch, dtype):
    matmul = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: matmul(a.to(dtype), b.to(dtype)).float())
    assert effective_settings.observed_math(torch, accelerator_of("cpu"))["matmul"] == "reduced"


@pytest.mark.slow
def test_an_environment_that_lowers_float32_behind_torchs_flags_is_seen():
    """oneDNN's own variable is honoured where the CPU has bf16 units; either way the probe must say what happened."""
    script = (
        "import torch; from gpubench.worker import effective_settings as settings;"
        "from gpubench.suite.model.case import Case;"
        "settings.apply(Case(), torch); e = settings.read_back(Case(), None, 'cpu');"
        "print(e.extra['environment'].get('ONEDNN_DEFAULT_FPMATH_MODE'), e.math['mkldnn.matmul'])"
    )
    import os

    environment = {**os.environ, "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["BF16", "ieee"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"precision": "tf32"}, "TF32 is a mode of NVIDIA's tensor cores"),
        ({"cuda_graph": True}, "a CUDA graph needs a CUDA device"),
        ({"data_path": "pinned"}, "on a CPU the input is where it is used"),
        ({"data_path": "pageable"}, "on a CPU the input is where it is used"),
        ({"timing": "latency"}, "latency is the time of one synchronised inference request"),
        ({"cuda_graph": True, "compile": "reduce-overhead", "device": "cuda"}, "captures CUDA graphs itself"),
        (
            {"cuda_graph": True, "precision": "amp-fp16", "device": "cuda"},
            "GradScaler keeps part of its state on the host",
        ),
    ],
)
def test_what_cannot_be_done_is_unsupported_with_its_reason(asked, reason):
    assert reason in effective_settings.unsupported(Case.model_validate(asked))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"mode": "infer", "timing": "latency"},
        {"precision": "amp-bf16"},
        {"precision": "bf16"},
        {"data_path": "loader"},
        {"optimizer": "adam", "fused": True},
    ],
)
def test_what_a_cpu_can_do_is_supported(asked):
    assert effective_settings.unsupported(Case.model_validate(asked)) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_device_is_named():
    assert "no CUDA device" in effective_settings.unsupported(
        Case(device="cuda")
    ) or "without CUDA" in effective_settings.unsupported(Case(device="cuda"))


@pytest.mark.parametrize("precision", ["amp-fp16", "fp16"])
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_half_on_a_cpu_is_supported_exactly_if_torch_computes_it(built, precision, mode):
    reason = effective_settings.unsupported(Case(precision=precision, mode=mode))
    if reason is None:
        workload, step, _ = built(precision=precision, mode=mode)
        step()
        assert workload.probe()["compute_dtype"] == "float16"
    else:
        assert precision in reason


def test_half_that_computes_float32_is_unsupported(monkeypatch):
    monkeypatch.setattr(unsupported, "_tiny_half_step", lambda *_, **__: torch.zeros(1))
    unsupported._cpu_half_fails.cache_clear()
    assert "does not compute in fp16" in effective_settings.unsupported(Case(precision="amp-fp16"))
    unsupported._cpu_half_fails.cache_clear()


def test_half_that_torch_refuses_is_unsupported_with_torchs_reason(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("not implemented for 'Half'")

    monkeypatch.setattr(unsupported, "_tiny_half_step", refuse)
    unsupported._cpu_half_fails.cache_clear()
    assert "not implemented for 'Half'" in effective_settings.unsupported(Case(precision="fp16"))
    unsupported._cpu_half_fails.cache_clear()


def test_a_refused_fused_optimizer_is_unsupported(monkeypatch):
    from gpubench.worker.workloads.base import Unsupported
    from gpubench.worker.workloads.supervised import optimizers

    def refuse(parameters, *, fused=False, **_):
        raise RuntimeError("`fused=True` requires all the params to be on cuda")

    monkeypatch.setitem(optimizers.OPTIMIZERS, "adam", refuse)
    with pytest.raises(Unsupported, match="no fused adam here: `fused=True` requires"):
        optimizers.make_optimizer(Case(optimizer="adam", fused=True), [torch.nn.Parameter(torch.zeros(1))])


def test_compile_without_a_compiler_is_unsupported(monkeypatch):
    from gpubench.worker.workloads import compiled

    monkeypatch.setattr(compiled.shutil, "which", lambda _tool: None)
    assert "none of g++, clang++, c++ is on the PATH" in effective_settings.unsupported(Case(compile="default"))


@pytest.mark.gpu
def test_tf32_is_numerically_off_under_fp32_and_on_under_tf32():
    for precision, expected in (("fp32", "ieee"), ("tf32", "reduced")):
        effective_settings.apply(Case(device="cuda", precision=precision), torch)
        assert effective_settings.observed_math(torch, accelerator_of("cuda")) == {"matmul": expected, "conv": expected}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "amp-fp16", "amp-bf16", "fp16", "bf16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_on_a_gpu_what_took_effect_is_what_was_asked_for(built, precision, memory_format):
    effective_settings.apply(Case(device="cuda", precision=precision), torch)
    workload, step, case = built(device="cuda", precision=precision, memory_format=memory_format)
    step()
    effective = effective_of(workload, case)
    assert effective_settings.mismatches(case, effective, effective) == ()
    assert effective.device_uuid.startswith(("GPU-", "MIG-"))
    assert effective.extra["total_bytes"] > 2**30


class _Step:
    """A workload with nothing but `build`; `make` gives its step."""

    def __init__(self, make):
        self.build = lambda case, device: make()


def _named(make, case=None):
    case = case or Case(mode="infer")
    effective_settings.apply(case, torch)
    step = make()
    step()
    return effective_of(_Step(make), case, step)


def _quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(torch.nn.Linear(8, 8)), dtype=torch.qint8)
    images = torch.randn(4, 8)
    return torch.inference_mode()(lambda: model(images))


def _attention(dtype):
    q = torch.randn(2, 2, 8, 8, dtype=dtype)
    return torch.inference_mode()(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))


def _lstm(dtype):
    lstm, features = torch.nn.LSTM(8, 8).to(dtype), torch.randn(3, 2, 8, dtype=dtype)
    return torch.inference_mode()(lambda: lstm(features))


def _of(operation, dtype, size=(8, 8)):
    x = torch.randint(-8, 8, size).to(dtype)
    return torch.inference_mode()(lambda: operation(x))


@pytest.mark.parametrize(
    ("make", "precision"),
    [
        (_quantised, "int8"),
        (lambda: _of(lambda x: torch._int_mm(x, x), torch.int8, (32, 32)), "int8"),
        (lambda: _attention(torch.bfloat16), "bf16"),
        (lambda: _attention(torch.float32), "fp32"),
        (lambda: _lstm(torch.bfloat16), "bf16"),
        (lambda: _lstm(torch.float32), "fp32"),
        (lambda: _of(torch.nn.functional.gelu, torch.float16), "fp16"),
        (lambda: _of(torch.fft.rfft, torch.float32), "fp32"),
        (lambda: _of(lambda x: torch.einsum("ik,jk->ij", x, x), torch.float64), "float64"),
        (
            lambda: _of(lambda x: torch.nn.functional.interpolate(x, scale_factor=2.0), torch.float32, (1, 3, 8, 8)),
            "fp32",
        ),
        (lambda: _of(torch.sort, torch.int64), "not seen"),
        (lambda: lambda: None, "not seen"),
    ],
)
def test_a_step_is_called_by_what_it_computes_in(make, precision):
    effective = _named(make)
    assert effective.precision == precision
    assert ("precision" in disagreeing(Case(mode="infer"), effective)) is (precision not in ("fp32", "not seen"))


def test_autocast_in_a_workload_of_ones_own_is_what_was_asked_for():
    def make():
        model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2))
        optimizer, features = torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(4, 8)

        def step():
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(features).float().square().mean()
            loss.backward()
            optimizer.step()

        return step

    case = Case(precision="amp-bf16")
    effective = _named(make, case)
    assert (effective.precision, effective.autocast_dtype) == ("amp-bf16", "bfloat16")
    assert disagreeing(case, effective) == {}
    assert "precision" in disagreeing(Case(precision="bf16"), effective)


def _in_another_thread(dtype, here=torch.float32):
    """Computes `here` in the thread that is watched, and `dtype` in one that was there before."""
    threads = ThreadPoolExecutor(1)
    x, y = torch.ones(8, 8), torch.ones(8, 8)
    threads.submit(int).result()
    return torch.inference_mode()(
        lambda: (threads.submit(lambda: x.to(dtype) @ x.to(dtype)).result(), y.to(here) @ y.to(here))
    )


@pytest.mark.parametrize("here", [torch.float32, torch.bfloat16])
def test_what_another_thread_computes_is_not_seen(here):
    effective = _named(lambda: _in_another_thread(torch.bfloat16, here))
    assert effective.extra["unseen_operators"] == ["matmul", "mm"]
    assert effective.extra["not_seen"] == ["precision"]
    assert effective.precision == ("not seen" if here == torch.float32 else "bf16")
    assert ("precision" in disagreeing(Case(mode="infer"), effective)) is (here == torch.bfloat16)


def test_without_a_product_of_its_own_a_thread_shows_no_type():
    threads, x = ThreadPoolExecutor(1), torch.ones(8, 8)
    effective = _named(lambda: lambda: threads.submit(lambda: x @ x).result() + 1, Case(precision="bf16", mode="infer"))
    assert effective.precision == "not seen"


def test_threads_that_only_move_data_change_nothing():
    threads, x = ThreadPoolExecutor(1), torch.ones(8, 8)
    effective = _named(lambda: lambda: x @ threads.submit(x.clone).result())
    assert (effective.precision, "unseen_operators" in effective.extra) == ("fp32", False)


def test_nothing_is_written_where_the_workload_writes(capfd):
    observe(lambda: torch.ones(2) + 1)
    assert capfd.readouterr() == ("", "")


def _two_networks(*dtypes, turns=False):
    """A step of linear layers, one per dtype, each after a product in float32; with `turns`, a step runs one of them."""
    networks = [torch.nn.Linear(8, 8).to(dtype) for dtype in dtypes]
    chosen = itertools.cycle([[each] for each in networks] if turns else [networks])

    def step():
        for network in next(chosen):
            x = torch.randn(8, 8)
            network((x @ x).to(network.weight.dtype)).sum().backward()

    return step


def test_products_that_a_model_of_16_bit_weights_keeps_in_float32_are_its_own():
    effective = _named(lambda: _two_networks(torch.bfloat16))
    assert (effective.precision, effective.compute_dtype) == ("bf16", "bfloat16+float32")
    assert disagreeing(Case(precision="bf16"), effective) == {}


@pytest.mark.parametrize("turns", [False, True])
def test_weights_of_float32_in_a_part_of_the_steps_are_no_16_bits(turns):
    effective = _named(lambda: _two_networks(torch.bfloat16, torch.float32, turns=turns))
    assert effective.precision == "bfloat16+float32"
    assert "precision" in disagreeing(Case(precision="bf16"), effective)


def _in_turns(*dtypes, cast=False):
    """A product of the next of `dtypes` in each step; with `cast`, None is one outside of autocast."""
    turns, x = itertools.cycle(dtypes), torch.ones(8, 8)

    def step():
        dtype = next(turns)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast and dtype is not None), torch.inference_mode():
            return (x @ x) if cast else (x.to(dtype) @ x.to(dtype))

    return step


def test_a_type_of_every_second_step_is_found():
    found = disagreeing(Case(mode="infer"), _named(lambda: _in_turns(torch.float32, torch.bfloat16)))
    assert found["precision"].data["got"] == "bfloat16+float32"


def test_autocast_of_every_second_step_is_found():
    case = Case(precision="amp-bf16", mode="infer")
    found = disagreeing(case, _named(lambda: _in_turns(torch.bfloat16, None, cast=True), case))
    assert found["autocast_dtype"].data["got"] == "bfloat16+none"
    assert disagreeing(case, _named(lambda: _in_turns(torch.bfloat16, cast=True), case)) == {}


def _compiled(graphs, before, monkeypatch):
    monkeypatch.setattr(optional_facts, "graphs_made", lambda: graphs)
    case = Case(compile="default", mode="infer")
    effective_settings.apply(case, torch)
    told = optional_facts.probe(_Step(int), case, int, before)
    return disagreeing(case, effective_settings.read_back(case, told, "cpu")), told


@pytest.mark.parametrize(("graphs", "before", "compiled"), [(0, 0, "off"), (2, 0, "default"), (2, 2, "not seen")])
def test_a_compiled_step_has_graphs(graphs, before, compiled, monkeypatch):
    found, told = _compiled(graphs, before, monkeypatch)
    assert told["compile"] == compiled
    assert set(found) == ({"compile"} if compiled == "off" else set())
    assert "precision" in told["extra"]["not_seen"]
    if found:
        assert "TORCH_COMPILE_DISABLE" in found["compile"].hint


@pytest.mark.parametrize("opted_out", [True, False])
def test_code_that_opted_out_of_compiling_has_no_graph(opted_out):
    from gpubench.worker.workloads.compiled import graphs_made

    double = torch.nn.Module()
    double.forward = lambda x: x * 2
    if opted_out:
        double.forward = torch.compiler.disable(double.forward)
    before = graphs_made()
    torch.compile(double, backend="eager")(torch.ones(2))
    assert graphs_made() - before == (0 if opted_out else 1)


class _Own:
    """A workload that builds its own step."""

    def build(self, case, device):
        return lambda: None


@pytest.mark.parametrize(
    ("setting", "asked", "plain"), [("compress", "int8-weight", "none"), ("framework", "lightning", "loop")]
)
def test_what_is_done_to_models_of_gpubench_alone_is_not_as_asked_of_another_workload(setting, asked, plain):
    case = Case(workload="mine:Own", mode="infer", **{setting: asked})
    found = disagreeing(case, effective_of(_Own(), case))
    assert found[setting].data["got"] == plain
    reporting = _Own()
    reporting.probe = lambda: {"extra": {setting: asked}}
    assert setting not in disagreeing(case, effective_of(reporting, case))
    assert setting not in disagreeing(Case(workload="mine:Own"), effective_of(_Own(), Case(workload="mine:Own")))
