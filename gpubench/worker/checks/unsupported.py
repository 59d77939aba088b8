"""What this device and this torch cannot do, each with its reason."""

from functools import cache
from typing import Any

from gpubench.suite.model.case import Case

AMPERE = (8, 0)


def unsupported(case: Case) -> str | None:
    """Why the case cannot run here, as a sentence; None if it can. On CUDA this creates the context.

    A case for a CUDA device on a machine without one is `skipped` by the runner before it gets here.
    """
    reasons = (
        _contradiction(case),
        _no_device(case),
        _on_cpu(case) if case.device_type == "cpu" else None,
    )
    reason = next(filter(None, reasons), None)
    if reason is None and case.device_type == "cuda":
        reason = _on_old_gpu(case)
    return reason or _no_compiler(case)


def _contradiction(case: Case) -> str | None:
    if case.timing == "latency" and case.mode == "train":
        return "latency is the time of one synchronised inference request; a training step has none (use throughput)"
    if not case.cuda_graph:
        return None
    if case.compile in ("reduce-overhead", "max-autotune"):
        return f"compile mode {case.compile} captures CUDA graphs itself; set `cuda_graph` or this mode, not both"
    if case.precision == "amp-fp16" and case.mode == "train":
        return "a GradScaler keeps part of its state on the host, which a CUDA graph cannot hold (use amp-bf16)"
    return None


def _no_device(case: Case) -> str | None:
    import torch

    if case.device_type != "cuda":
        return None
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    if not torch.cuda.is_available():
        return "no CUDA device is usable here (`gpubench doctor` says why)"
    index, count = torch.device(case.device).index or 0, torch.cuda.device_count()
    return None if index < count else f"there is no {case.device}: this process sees {count} CUDA device(s), from 0"


def _on_cpu(case: Case) -> str | None:
    if case.precision == "tf32":
        return "TF32 is a mode of NVIDIA's tensor cores; a CPU has none"
    if case.cuda_graph:
        return "a CUDA graph needs a CUDA device"
    if case.data_path in ("pinned", "pageable"):
        return f"`data_path: {case.data_path}` copies to another device; on a CPU the input is where it is used (resident, loader)"
    if case.precision in ("amp-fp16", "fp16"):
        return _cpu_half_fails(case.precision, case.mode == "train")
    return None


def _on_old_gpu(case: Case) -> str | None:
    import torch

    capability = torch.cuda.get_device_capability(torch.device(case.device))
    if capability >= AMPERE or case.precision not in ("tf32", "bf16", "amp-bf16"):
        return None
    name = "TF32" if case.precision == "tf32" else "bf16"
    return f"{name} needs compute capability 8.0 (Ampere); this device has {capability[0]}.{capability[1]}"


def _no_compiler(case: Case) -> str | None:
    if case.compile == "off":
        return None
    from gpubench.worker.workloads.compiled import no_compiler

    return no_compiler(case.device_type)


@cache
def _cpu_half_fails(precision: str, train: bool) -> str | None:
    """Tries convolution, batch normalisation and a product in half precision on the CPU, and what `train` adds.

    Whether they exist, and whether autocast really casts, differs between torch releases; so it is asked, not
    remembered.
    """
    import torch

    try:
        output = _tiny_half_step(torch, autocast=precision == "amp-fp16", train=train)
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
        _backward(torch, model, output.float().sum(), autocast)
    return output


def _backward(torch: Any, model: Any, loss: Any, scaled: bool) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if scaled and not scaler.is_enabled():
        raise RuntimeError("GradScaler is disabled on a CPU")
