"""The lines that `gpubench tune` prints switch on what they say: they are executed, and the settings looked at."""

from types import SimpleNamespace

import pytest
import torch

from gpubench.analysis.tuning.paste_lines import paste_lines
from gpubench.suite.model.case import Case


@pytest.fixture(autouse=True)
def _restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def executed(case):
    """The names after the lines, for a small convolution; `seen` holds what each call of the model saw."""
    seen = []

    class Watched(torch.nn.Conv2d):
        def forward(self, images):
            seen.append((torch.is_autocast_enabled("cpu"), images.is_contiguous(memory_format=torch.channels_last)))
            return super().forward(images).mean(dim=(2, 3))

    dataset = torch.utils.data.TensorDataset(torch.randn(8, 3, 6, 6), torch.zeros(8, dtype=torch.long))
    names = {"model": Watched(3, 4, 3), "dataset": dataset, "loss_function": torch.nn.CrossEntropyLoss(), "seen": seen}
    exec("\n".join(paste_lines(case)), names)
    return names


def test_on_a_cpu_every_setting_of_the_lines_is_in_effect():
    case = Case(device="cpu", precision="amp-bf16", memory_format="channels_last", batch_size=4, cpu_threads=1)
    names = executed(case)
    assert torch.get_num_threads() == 1
    assert names["model"].weight.is_contiguous(memory_format=torch.channels_last)
    assert names["seen"] == [(True, True)] * 2
    assert names["loader"].batch_size == 4
    assert isinstance(names["optimizer"], torch.optim.SGD)
    assert names["loss"].requires_grad


def test_weights_in_half_precision_and_inference_are_in_effect():
    names = executed(Case(device="cpu", mode="infer", precision="bf16", batch_size=8))
    assert names["model"].weight.dtype is torch.bfloat16
    assert names["outputs"].dtype is torch.bfloat16
    assert names["seen"] == [(False, False)]
    assert "optimizer" not in names


def test_loader_and_optimizer_get_their_settings():
    names = executed(Case(device="cpu", data_path="loader", num_workers=0, optimizer="adamw", fused=True, batch_size=2))
    assert names["loader"].num_workers == 0
    assert names["optimizer"].defaults["fused"] is True
    assert isinstance(names["optimizer"], torch.optim.AdamW)


def test_compilation_wraps_the_model(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **given: (model.__setattr__("mode", given), model)[1])
    assert executed(Case(device="cpu", compile="max-autotune", batch_size=8))["model"].mode == {"mode": "max-autotune"}


def test_lines_for_a_gpu_name_every_setting_and_are_python():
    case = Case(
        device="cuda",
        precision="amp-fp16",
        memory_format="channels_last",
        cudnn_benchmark=True,
        cuda_graph=True,
        data_path="pinned",
        fused=True,
    )
    text = "\n".join(paste_lines(case))
    compile(text, "lines", "exec")
    for part in (
        "torch.backends.cudnn.benchmark = True",
        "GradScaler",
        "pin_memory=True",
        "non_blocking=True",
        "fused=True",
        "torch.cuda.graph",
        'torch.autocast("cuda", dtype=torch.float16)',
    ):
        assert part in text


def test_tf32_is_switched_on_for_products_and_convolutions():
    seen = []
    cudnn = SimpleNamespace(allow_tf32=False)
    stand_in = SimpleNamespace(set_float32_matmul_precision=seen.append, backends=SimpleNamespace(cudnn=cudnn))
    lines = paste_lines(Case(device="cuda", precision="tf32"))
    exec("\n".join(line for line in lines if "32" in line), {"torch": stand_in})
    assert seen == ["high"]
    assert cudnn.allow_tf32 is True
