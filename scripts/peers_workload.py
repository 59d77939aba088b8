"""The model that scripts/peers.py gives to every tool: ResNet-18 of timm, and the same with a wait of known length.

`python scripts/peers_workload.py TOOL OUT` measures it with one of the tools that are called from a program.
PEERS_SLOW_S is the wait in seconds per step.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import generate_default_cfgs, register_model

BATCH, SIDE = 4, 64
default_cfgs = generate_default_cfgs({"peers_resnet18": {"input_size": (3, SIDE, SIDE), "num_classes": 1000}})
"""timm looks for it under this name when it registers a model."""


class Slowed(torch.nn.Module):
    """A model whose forward pass takes `slow_s` seconds longer."""

    def __init__(self, inner: torch.nn.Module, slow_s: float) -> None:
        super().__init__()
        self.inner, self.slow_s = inner, slow_s

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(x)
        if self.slow_s:
            until = time.perf_counter() + self.slow_s
            while time.perf_counter() < until:
                pass
        return outputs


def net(slow_s: float = 0.0) -> torch.nn.Module:
    """For gpubench, which passes `slow_s` as a free setting."""
    return Slowed(timm.create_model("resnet18"), slow_s)


@register_model  # type: ignore[untyped-decorator]
def peers_resnet18(pretrained: bool = False, **kwargs: object) -> torch.nn.Module:  # noqa: ARG001
    """For tools that create models by name."""
    return net(float(os.environ.get("PEERS_SLOW_S", "0")))


def step() -> Callable[[], None]:
    """One inference step, as a function without arguments."""
    model, images_NCHW = peers_resnet18().eval(), torch.randn(BATCH, 3, SIDE, SIDE)

    def run() -> None:
        with torch.inference_mode():
            model(images_NCHW)

    return run


def with_pyperf(out: Path) -> None:
    import pyperf

    asked = ["-o", str(out), "--fast", "--quiet", "--inherit-environ", "PEERS_SLOW_S,PYTHONPATH"]
    sys.argv = [sys.argv[0], *(sys.argv[3:] or asked)]  # its workers run this program with other arguments
    runner = pyperf.Runner(program_args=(__file__, "pyperf", str(out)))
    runner.bench_func("step", step())


def with_torch_benchmark(out: Path) -> None:
    from torch.utils.benchmark import Timer

    timer = Timer("run()", globals={"run": step()}, num_threads=torch.get_num_threads())
    found = timer.blocked_autorange(min_run_time=5)
    out.write_text(json.dumps({"median_s": found.median, "iqr_s": found.iqr, "said": str(found)}))


def with_optimum_benchmark(out: Path) -> None:
    """Its own launcher starts a process, in which a model of ours has no name: so it runs in this one."""
    from optimum_benchmark import Benchmark, BenchmarkConfig, InferenceConfig, InlineConfig, PyTorchConfig

    (out.parent / "peers_resnet18").mkdir(exist_ok=True)
    (out.parent / "peers_resnet18" / "config.json").write_text('{"pretrained_cfg": {}}')
    os.chdir(out.parent)
    shape = {"batch_size": BATCH, "num_channels": 3, "height": SIDE, "width": SIDE}
    report = Benchmark.launch(
        BenchmarkConfig(
            name="step",
            launcher=InlineConfig(device_isolation=False),
            scenario=InferenceConfig(latency=True, memory=False, input_shapes=shape),
            backend=PyTorchConfig(
                model="peers_resnet18", library="timm", task="image-classification", model_type="resnet", device="cpu"
            ),
        )
    )
    found = report.to_dict()["forward"]["latency"]
    out.write_text(json.dumps({"mean_s": float(found["mean"]), "p50_s": float(found["p50"]), "count": found["count"]}))


def test_step(benchmark: Callable[[Callable[[], None]], Any]) -> None:
    """For pytest-benchmark."""
    benchmark(step())


TOOLS = {"pyperf": with_pyperf, "torch": with_torch_benchmark, "optimum": with_optimum_benchmark}

if __name__ == "__main__":
    TOOLS[sys.argv[1]](Path(sys.argv[2]))
