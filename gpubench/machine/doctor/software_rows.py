"""Doctor rows on software: what is installed, what works together, what the environment sets."""

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gpubench.core.process_tree import processes
from gpubench.core.units import format_bytes
from gpubench.machine import installed_software
from gpubench.machine.doctor_row import DoctorRow, Group, Level, doctor_row
from gpubench.machine.host_facts import read_text

_HARMFUL = {
    "CUDA_LAUNCH_BLOCKING": (("1",), Level.BAD, "makes every launch wait for the device"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": (("1",), Level.BAD, "allocates from the driver every time"),
    "NVIDIA_TF32_OVERRIDE": (("0", "1"), Level.WARN, "overrides torch's own TF32 settings"),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": (("0", "1"), Level.WARN, "overrides torch's own TF32 settings"),
    "PYTHONDEVMODE": (("1",), Level.WARN, "turns on Python's slow debug checks"),
    "PYTHONMALLOC": (("debug", "malloc_debug", "pymalloc_debug"), Level.WARN, "turns on slow allocator checks"),
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": (
        tuple(map(str, range(1, 100))),
        Level.WARN,
        "gives a program a part of the multiprocessors",
    ),
    "TORCH_SHOW_CPP_STACKTRACES": (("1",), Level.WARN, "makes errors slow"),
}


_INJECTS = ("CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "NSYS_PROFILING_SESSION_ID", "KINETO_USE_DAEMON")
_PROFILERS = frozenset({"nsys", "ncu", "nv-nsight-cu-cli", "nvprof", "nv-hostengine", "dcgm-exporter", "dynolog"})


def rows(
    facts: Mapping[str, Any],
    driver: Mapping[str, Any] | None,
    environ: Mapping[str, str] | None = None,
    root: Path = Path("/"),
) -> list[DoctorRow]:
    """`facts` as `worker.doctor_work facts` printed them (empty if it was not run), `driver` the driver's versions."""
    environ = os.environ if environ is None else environ
    python = installed_software.python()
    debug = python["debug"]
    text = f"{python['version']} ({python['implementation']}{', debug build' if debug else ''})"
    remedy = "A debug build is several times slower: use a release build."
    interpreter = _row("Python", Level.BAD if debug else Level.OK, text, remedy)
    path = environ.get("GPUBENCH_NSYS") or shutil.which("nsys", path=environ.get("PATH", ""))
    without = "not on PATH: `profile` uses torch.profiler, unless nsys is in a CUDA or Nsight folder"
    remedy = "Install Nsight Systems for timelines of the whole machine."
    profiler = _row("nsys", Level.OK if path else Level.NA, path or without, remedy)
    watchers = _profilers(environ, root)
    return [interpreter, *_torch(facts, driver), *_binding(), profiler, watchers, *variables(environ)]


_row = partial(doctor_row, Group.SOFTWARE)


def _profilers(environ: Mapping[str, str], root: Path) -> DoctorRow:
    """What loads CUPTI into every CUDA program, where it costs time at each call even while it records nothing; and
    profilers and collectors that run, which may hold the card's counters.
    """
    variables = [f"{name}={environ[name]}" for name in _INJECTS if environ.get(name)]
    names = {(read_text(root / "proc" / str(each.pid) / "comm") or "").strip() for each in processes(root / "proc")}
    running = sorted(_PROFILERS & names)
    if not variables and not running:
        return _row("profilers", Level.OK, "none attached, none seen to run")
    remedy = "Unset the variables, and stop what runs: `profile` and GPM counters may find the card's counters taken."
    return _row("profilers", Level.WARN, ", ".join([*variables, *(f"{name} runs" for name in running)]), remedy)


def _torch(facts: Mapping[str, Any], driver: Mapping[str, Any] | None) -> list[DoctorRow]:
    if facts.get("error"):
        return [_row("torch", Level.BAD, str(facts["error"]), "pip install torch")]
    if not facts:
        version = installed_software.packages()["torch"]
        if version:
            return [_row("torch", Level.NA, f"{version} (not asked)")]
        return [_row("torch", Level.BAD, "not installed (not asked)", "pip install torch")]
    built = f"CUDA {facts['cuda']}" if facts.get("cuda") else "CPU only"
    found = _row("torch", Level.OK, f"{facts['torch']}, {built}", **dict(facts))
    devices = facts.get("devices") or ()
    if devices:
        cuda = _row("CUDA", Level.OK, f"{len(devices)} device(s), cuDNN {_cudnn(facts.get('cudnn'))}")
        return [found, cuda, *map(_l2, devices)]
    reason = str(facts.get("unavailable") or "no CUDA device")
    if driver is None:
        return [found, _row("CUDA", Level.NA, reason)]
    return [found, _row("CUDA", Level.BAD, reason, _why_no_cuda(facts.get("cuda"), driver.get("cuda_driver")))]


def _l2(device: Mapping[str, Any]) -> DoctorRow:
    """A part of L2 that is set aside for persisting accesses is not there for other data (CUDA C++ Programming Guide,
    L2 cache control).
    """
    name, size, aside = f"cuda:{device.get('index')} L2", device.get("l2_bytes"), device.get("persisting_l2_bytes")
    size_text = f"{format_bytes(size)}, " if size else ""
    if aside is None:
        return _row(name, Level.NA, f"{size_text}whether a part is set aside cannot be read")
    remedy = "Find out what sets `cudaLimitPersistingL2CacheSize`: measured programs see a smaller cache."
    text = f"{size_text}{format_bytes(aside) if aside else 'none'} set aside for persisting accesses"
    return _row(name, Level.WARN if aside else Level.OK, text, remedy)


def _why_no_cuda(built: str | None, served: str | None) -> str:
    """What to do if the driver works but torch cannot use it. Versions look like `13.0`."""
    if built is None:
        return "This torch is built for the CPU alone: install one that is built for CUDA."
    if served is not None and _version(built) > _version(served):
        what = "update the driver, or install an older build"
        return f"This torch is built for CUDA {built}, the driver serves {served}: {what}."
    what = "check CUDA_VISIBLE_DEVICES and, in a container, that libcuda.so.1 is in it"
    return f"The driver works, but torch cannot use it: {what}."


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def _cudnn(number: int | None) -> str:
    """`9.26.0` from 92600 (cuDNN 9 and newer) or 8.9.7 from 8907."""
    if not number:
        return "absent"
    major = number // 10_000 or number // 1000
    rest = number % 10_000 if number >= 10_000 else number % 1000
    return f"{major}.{rest // 100}.{rest % 100}"


def _binding() -> list[DoctorRow]:
    version = installed_software.packages()["nvidia-ml-py"]
    text = version or "not installed: no power, energy or clocks"
    found = [_row("nvidia-ml-py", Level.OK if version else Level.WARN, text, "pip install nvidia-ml-py")]
    deprecated = installed_software.installed("pynvml")
    if deprecated is None:
        return found
    remedy = "pip uninstall pynvml; pip install --force-reinstall nvidia-ml-py"
    return [*found, _row("pynvml", Level.WARN, f"the deprecated project {deprecated} shadows nvidia-ml-py", remedy)]


def variables(environ: Mapping[str, str]) -> list[DoctorRow]:
    """A row per environment variable that slows things down, or one that says there is none."""
    found = []
    for name, (values, level, effect) in _HARMFUL.items():
        if environ.get(name) in values:
            found.append(_row(name, level, f"{environ[name]}: {effect}", f"unset {name}"))
    preloaded = environ.get("LD_PRELOAD")
    if preloaded:
        remedy = "Anything preloaded may cost time: unset it unless you mean it."
        found.append(_row("LD_PRELOAD", Level.WARN, preloaded, remedy))
    return found or [_row("variables", Level.OK, "none set that slow things down")]
