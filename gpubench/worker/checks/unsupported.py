"""What this device and this torch cannot do, with reasons."""

from functools import cache
from typing import Any

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.compiled import no_compiler


def unsupported(case: Case) -> str | None:
    """Why the case cannot run here, as a sentence; None if it can. On CUDA this creates the context.

    A case for a CUDA device on a machine without one is `skipped` by the runner before it gets here.
    """
    accelerator = accelerator_of(case.device)
    return (
        _contradiction(case)
        or accelerator.problem()
        or accelerator.lacks(case.precision)
        or (None if accelerator.asynchronous else _on_cpu(case))
        or (no_compiler(case.device_type) if case.compile != "off" else None)
    )


def _contradiction(case: Case) -> str | None:
    if PRECISIONS[case.precision].products_only and (case.workload, case.mode) != ("operators:matmul", "infer"):
        return f"torch has only products in {case.precision}: give it to `operators:matmul`, with `mode: infer`"
    if case.timing == "latency" and case.mode == "train":
        return "latency is the time of one synchronised inference request; a training step has none (use throughput)"
    if not case.cuda_graph:
        return None
    if case.compile in ("reduce-overhead", "max-autotune"):
        return f"compile mode {case.compile} captures CUDA graphs itself; set `cuda_graph` or this mode, not both"
    if PRECISIONS[case.precision].scaled and case.mode == "train":
        return "a GradScaler keeps part of its state on the host, which a CUDA graph cannot hold (use amp-bf16)"
    return None


def refused_of_ranks(case: Case) -> str | None:
    """Why a case with several ranks cannot be measured; None if it can."""
    shared = case.scaling == "strong" and case.batch_size != "max" and not case.is_collective
    shared = shared and not case.splits_model
    refused = {
        "ranks are measured step after step (`timing: throughput`)": case.timing == "latency",
        "a CUDA graph that contains the messages of ranks is not measured yet": case.cuda_graph,
        "micro-steps of ranks (`accumulate`) are not measured yet": case.accumulate > 1,
        "the largest batch is searched for in one process; give ranks a number": case.batch_size == "max",
        f"{case.world_size} ranks cannot share a batch of {case.batch_size} evenly": shared
        and case.batch % case.world_size > 0,
    }
    return next((reason for reason, holds in refused.items() if holds), None)


def _on_cpu(case: Case) -> str | None:
    if case.cuda_graph:
        return "a CUDA graph needs a CUDA device"
    if case.data_path in ("pinned", "pageable"):
        reason = "copies to another device; on a CPU the input is where it is used (resident, loader)"
        return f"`data_path: {case.data_path}` {reason}"
    if PRECISIONS[case.precision].compute == "float16":
        return _cpu_half_fails(case.precision, case.mode == "train")
    return None


@cache
def _cpu_half_fails(precision: str, train: bool) -> str | None:
    """Tries convolution, batch normalisation and a matrix product in half precision on the CPU, and with `train` a
    backward.

    torch releases differ in whether these exist, and whether autocast really casts.
    """
    import torch

    try:
        output = _tiny_half_step(torch, autocast=PRECISIONS[precision].autocast is not None, train=train)
    except (RuntimeError, NotImplementedError) as error:
        return f"this torch has no {precision} on a CPU: {error}"
    if output.dtype is not torch.float16:
        return f"this torch does not compute in fp16 on a CPU under {precision}: the output was {output.dtype}"
    return None


def _tiny_half_step(torch: Any, *, autocast: bool, train: bool) -> Any:
    nn = torch.nn
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        images = torch.randn(2, 3, 8, 8)
    if not autocast:
        model, images = model.half(), images.half()
    with torch.set_grad_enabled(train), torch.autocast("cpu", dtype=torch.float16, enabled=autocast):
        output = model(images)
    if train:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        scaler = torch.amp.GradScaler("cpu", enabled=autocast)
        scaler.scale(output.float().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        if autocast and not scaler.is_enabled():
            raise RuntimeError("GradScaler is disabled on a CPU")
    return output
