"""Tries one batch: a process that rehearses the case's measurement with limited memory, then ends."""

import ctypes
import json
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from gpubench.core.process_tree import size_of
from gpubench.machine.control_groups import memory_limit
from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.failures import as_failed
from gpubench.worker.process_lifetime import CAN_FORK, die_with
from gpubench.worker.workloads.base import Unsupported

HEADROOM = 0.05
LEAST_HEADROOM_BYTES = 64 * 2**20
"""Share of free memory kept from a trial, for allocations outside torch and for fragmentation."""

_PROC = Path("/proc")
_KIB = 1024
_M_MMAP_THRESHOLD = -3
_MAPPED_FROM_BYTES = 64 * 2**10
_OF_MEMORY = (signal.SIGKILL, signal.SIGABRT)
"""How a process may end when memory is short and nothing can be raised: killed by the kernel, or in C++ without a
handler.
"""

_LONGEST_REASON = 300


class Trial(NamedTuple):
    """`peak_bytes`: of torch's allocator on CUDA, of the address space above its start on a CPU; None if it did not
    fit. `limit_bytes` is what it was allowed. `reason` is empty if it fits.
    """

    batch: int
    fits: bool
    peak_bytes: int | None
    limit_bytes: int
    reason: str = ""
    out_of_memory: bool = False

    def facts(self) -> dict[str, Any]:
        return {"batch": self.batch, "fits": self.fits, "peak_bytes": self.peak_bytes, "reason": self.reason or None}


@dataclass
class TrialMemory:
    """State of a rehearsal in bytes: its limit on the device, and the most it used (None on a CPU, where the address
    space shows that).
    """

    limit_bytes: int | None = None
    peak_bytes: float | None = None


Rehearse = Callable[[Case, TrialMemory], None]
"""Uses memory like a measurement of the case."""


def limit_bytes(device_type: str) -> int | None:
    """Bytes a trial on the CPU may add: free memory or what is left of the address-space limit, minus headroom. None on
    a GPU, where only a trial can ask the device.
    """
    if accelerator_of(device_type).memory is not None:
        return None
    free = [_available()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        free.append(soft - _address_space("VmSize"))
    return with_headroom(min(free))


def with_headroom(free: int) -> int:
    return max(0, free - max(int(HEADROOM * free), LEAST_HEADROOM_BYTES))


def try_batch(case: Case, rehearse: Rehearse, limit: int | None) -> Trial:
    """Rehearses `case` in a forked process. Raises Unsupported if the case cannot run here at all."""
    if not CAN_FORK:
        raise Unsupported("the search for the largest batch needs to fork, which this system cannot")
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run(case, rehearse, limit, writer, parent)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if said:
        told: dict[str, Any] = json.loads(said)
    else:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        told = {"reason": f"the process ended with {how}", "out_of_memory": -code in _OF_MEMORY}
    if told.get("unsupported"):
        raise Unsupported(told["reason"])
    allowed = limit if limit is not None else int(told.get("limit_bytes") or 0)
    reason = str(told.get("reason") or "")[:_LONGEST_REASON]
    return Trial(
        case.batch, bool(told.get("fits")), told.get("peak_bytes"), allowed, reason, bool(told.get("out_of_memory"))
    )


def _run(case: Case, rehearse: Rehearse, limit: int | None, writer: int, parent: int) -> NoReturn:
    """Never returns: the outcome is sent through the pipe, or shown by how the process ends."""
    told: dict[str, Any] = {}
    found = TrialMemory()
    try:
        die_with(parent)
        told["peak_bytes"] = _attempt(case, rehearse, limit, found)
        told["fits"] = True
    except Unsupported as error:
        told |= {"unsupported": True, "reason": str(error)}
    except BaseException as error:  # noqa: BLE001 - a step may end in any way, even by sys.exit
        failed = as_failed(error, "its steps")
        told |= {"reason": failed.reason, "out_of_memory": failed.status == "oom"}
    finally:
        told["limit_bytes"] = found.limit_bytes
        if limit is not None:  # leaves memory to send the outcome
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        os.write(writer, json.dumps(told).encode())
        os._exit(0)


def _attempt(case: Case, rehearse: Rehearse, limit: int | None, found: TrialMemory) -> float | None:
    """The most bytes used: of torch's allocator on a GPU, of address space under `limit` on a CPU."""
    if limit is None:
        rehearse(case, found)
        return found.peak_bytes
    base = _address_space("VmSize")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (base + limit, hard))
    give_back_at_once()
    rehearse(case, found)
    return _address_space("VmPeak") - base


def give_back_at_once() -> None:
    """Makes glibc map every tensor separately and unmap it when freed, so that the address space follows live memory.
    Otherwise the heap's reserves and fragmentation would decide which batch fits. The measurement of the largest batch
    runs the same way.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)


def _available(proc: Path = _PROC) -> int:
    """Bytes available without swapping: on the machine, or left by the control groups if fewer."""
    lines = (proc / "meminfo").read_text().splitlines()
    machine = next(int(line.split()[1]) * _KIB for line in lines if line.startswith("MemAvailable:"))
    limit = memory_limit()
    if limit is None:
        return machine
    return min(machine, limit.limit_bytes if limit.left_bytes is None else limit.left_bytes)


def _address_space(name: str) -> int:
    found = size_of(_PROC / "self", name)
    if found is None:
        raise Unsupported(
            "the search for the largest batch on a CPU needs the address space, which this system does not report"
        )
    return found
