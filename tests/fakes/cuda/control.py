"""Builds the fake CUDA and starts programs on it.

It is one library, found by torch under the name of NVIDIA's driver and loaded before anything else: its functions take the
place of the CUDA runtime's, cuBLAS's and cuDNN's under torch's real CUDA build. So torch's own allocator, streams, events,
graphs and autograd threads, and the host's half of Inductor and Triton, run as on a card.

What it can show: what the host does (calls, their order, what it waits for), whether a call is allowed while a stream
captures or after a fork, what is accounted as memory, out of memory, how errors are told, the devices a process sees.
What it cannot: any value and any speed. A kernel computes nothing and takes some microseconds of a device's clock, so
outputs are zeros or what was there before, a loss is 0 and no parameter moves: measured cases are INVALID by GB302, GB303
or GB305. Of copies on the device only those up to 1 MiB move, of other copies the first 64 MiB. Memory is not shared between
processes: what one takes is free for the next. CUPTI finds no device, so profilers see no kernels. What is not here says so:
the driver's other functions answer "not supported", cuDNN has no plan for attention.

Environment of a program on it, all optional:
    FAKE_GPUS               cards, numbered and named as by the fake NVML (1); CUDA_VISIBLE_DEVICES chooses among them
    FAKE_MIG                divides the last card into one MIG slice, whose power is capped
    FAKE_GPU_BYTES          memory of each (80 GiB); none is taken from the host before something is written there
    FAKE_CUDA_CAPABILITY    90 is compute capability 9.0 (90)
    FAKE_CUDA_KERNEL_NS     what a kernel takes (4,000)
    FAKE_CUDA_STICKY_AFTER  after so many launches every call fails with an illegal memory access (never)
    FAKE_CUDNN_START_S      what the first convolution waits for cuDNN (0)
    FAKE_CUDA_LOG           a file that gets a line for everything that CUDA would not allow, or would do wrong
"""

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from fakes.nvml import control as nvml

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("*.cpp"))
SONAME = "libcuda.so.1"
GIB = 2**30

_NOT_SUPPORTED = 801
"""CUDA_ERROR_NOT_SUPPORTED."""


@functools.cache
def missing() -> str | None:
    """Why the fake cannot be built or used here; None where it can."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return "torch is not installed"
    found = re.search(r"^cuda\b.*?'(\d+)\.", Path(spec.origin).with_name("version.py").read_text(), re.MULTILINE)
    if found is None:
        return "the fake CUDA runs under torch's CUDA build, and this torch was built without CUDA"
    if shutil.which("c++") is None:
        return "no C++ compiler to build the fake CUDA with"
    headers = _headers()
    if headers is None:
        return "Triton, which brings CUDA's headers, is not installed"
    text = (headers / "cuda.h").read_text()
    version = re.search(r"#define CUDA_VERSION (\d+)\d{3}", text)
    if version is None or version[1] != found[1] or found[1] != "13":
        return f"the fake is of CUDA 13; torch was built with CUDA {found[1]}, Triton's headers are of {version and version[1]}"
    return None


def _headers() -> Path | None:
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "backends/nvidia/include"


@functools.cache
def libraries() -> Path:
    """The folder of the fake and of the fake NVML. Built once for these sources on this machine, and found again by every
    process. RuntimeError with `missing()`.
    """
    if reason := missing():
        raise RuntimeError(reason)
    headers = _headers()
    compiler = subprocess.run(["c++", "--version"], capture_output=True, check=True).stdout
    files = [
        *SOURCES,
        FOLDER / "device.h",
        Path(__file__),
        nvml.SOURCE,
        headers / "cuda.h",
        headers / "cuda_runtime_api.h",
    ]
    digest = hashlib.sha256(b"".join([compiler, *(path.read_bytes() for path in files)])).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"gpubench-fake-cuda-{os.getuid()}-{digest}"
    if not (home / SONAME).exists():
        home.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            nvml.build(Path(folder)).replace(home / nvml.SONAME)
            _build(Path(folder), headers).replace(home / SONAME)  # whole or not at all
    return home


def _build(folder: Path, headers: Path) -> Path:
    """Also everything in cuda.h that has no definition here: a driver has all its functions, or loading it fails."""
    names = sorted(set(re.findall(r"\bcu[A-Z]\w*", (headers / "cuda.h").read_text())))
    rest = [f'extern "C" __attribute__((weak)) int {name}() {{ return {_NOT_SUPPORTED}; }}\n' for name in names]
    (folder / "rest.cpp").write_text("".join(rest))
    (folder / "exports").write_text("{ global: cu[A-Zdb]*; __cuda*; local: *; };\n")
    flags = [
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-isystem",
        str(headers),
        f"-I{FOLDER}",
    ]
    flags += [f"-Wl,-soname,{SONAME}", f"-Wl,--version-script={folder / 'exports'}"]
    command = ["c++", *flags, "-o", folder / SONAME, *SOURCES, folder / "rest.cpp", "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return folder / SONAME


def environment(**settings: object) -> dict[str, str]:
    """What a program needs in its environment to run on the fake and the fake NVML, with `settings` by the names above."""
    folder = libraries()
    paths = {"LD_PRELOAD": folder / SONAME, "LD_LIBRARY_PATH": folder, "TRITON_LIBCUDA_PATH": folder}
    return {name: str(value) for name, value in {**paths, "FAKE_GPUS": 1, "FAKE_NVML_WATTS": 300, **settings}.items()}
