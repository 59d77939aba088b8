"""Finds the CUDA devices that this interpreter can use, in a process that ends right afterwards.

A host must never touch CUDA, because children forked after that cannot use it. So a child asks, and answers through a
pipe; without fork, a program does.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from gpubench.protocol import start_module

TIMEOUT_S = 60.0
"""Seconds; a driver that takes longer to start is broken (eight cards without persistence mode take some 20 s)."""

_NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"
_INJECTED = ("NVTX_INJECTION64_PATH", "CUDA_INJECTION64_PATH", "NSYS_PROFILING_SESSION_ID", "LD_PRELOAD")


@dataclass(frozen=True)
class Devices:
    """`devices` by CUDA's own numbering (`index`), each with `uuid`, `name`, `pci`, `total_bytes` and
    `compute_capability`. `unavailable` is why there are none.
    """

    devices: tuple[dict[str, Any], ...] = ()
    unavailable: str | None = None
    cudnn: int | None = None


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Meanwhile torch answers "is CUDA there?" through NVML. Otherwise the question would initialise CUDA, and no
    process forked later could use it.
    """
    was_set = _NVML_CHECK in os.environ
    os.environ.setdefault(_NVML_CHECK, "1")
    try:
        yield
    finally:
        if not was_set:
            del os.environ[_NVML_CHECK]


def ask(torch: Any) -> Devices:
    """Asks CUDA in this process, and leaves it initialised."""
    from gpubench.worker.accelerator import visible_gpus

    gpus, unavailable = visible_gpus(torch)
    if unavailable is not None:
        return Devices(unavailable=unavailable)
    found = []
    for index, gpu in enumerate(gpus):
        name, uuid, extra = gpu.facts()
        told = {key: extra.get(key) for key in ("pci", "total_bytes", "compute_capability")}
        found.append({"index": index, "uuid": uuid, "name": name, **told})
    return Devices(tuple(found), cudnn=torch.backends.cudnn.version())


def ask_in_child(torch: Any, timeout_s: float = TIMEOUT_S) -> Devices:
    """`ask` in a forked child. A child that dies or hangs is a reason for no devices."""
    from gpubench.worker.accelerator import built_for_gpus

    if not built_for_gpus(torch):
        return ask(torch)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # writes its answer and ends, without running the host's exit handlers
        status = 1
        try:
            os.close(reader)
            os.write(writer, _encode(ask(torch)))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answered = bool(select.select([pipe], [], [], timeout_s)[0])
        if not answered:
            os.kill(pid, signal.SIGKILL)
        said = pipe.read() if answered else b""  # the child writes its answer whole and ends
    return _decode(said, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if answered else None, timeout_s)


def ask_in_program() -> Devices:
    """`ask` in a fresh interpreter, outside any profiler's session."""
    environ = {name: value for name, value in os.environ.items() if name not in _INJECTED}
    command = start_module.command("gpubench.worker.process.device_query")
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, env=environ, check=False)
    except subprocess.TimeoutExpired:
        return _decode(b"", None, TIMEOUT_S)
    return _decode(done.stdout, done.returncode, TIMEOUT_S)


def _encode(found: Devices) -> bytes:
    return json.dumps(asdict(found)).encode()


def _decode(said: bytes, exit_code: int | None, timeout_s: float) -> Devices:
    """The last line of an answer. `exit_code` None: there was none in time."""
    if exit_code is None:
        return Devices(unavailable=f"the CUDA driver did not answer within {timeout_s:.0f} s")
    if exit_code != 0:
        return Devices(unavailable=f"the process that asked for CUDA devices ended with {exit_code}")
    told = json.loads(said.splitlines()[-1])
    return Devices(**{**told, "devices": tuple(told["devices"])})


if __name__ == "__main__":
    import torch

    sys.stdout.write(_encode(ask(torch)).decode() + "\n")
