"""Turns the exception that ended a launch into `Failed`, a row of the run."""

import re
import sys
import traceback
from typing import Any

from gpubench.core.errors import GpubenchError
from gpubench.core.findings import Finding
from gpubench.core.records import Effective, Failure
from gpubench.core.units import format_bytes
from gpubench.protocol.messages import Failed
from gpubench.worker.workloads.base import Missing, Unsupported
from gpubench.worker.workloads.users_errors import in_one_line

_SIZE = r"(\d+(?:\.\d+)?)\s*(bytes|[KMGT]i?B)"
_BINARY = {f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGT", 1)}
_DECIMAL = {f"{prefix}B": 10 ** (3 * power) for power, prefix in enumerate("kMGT", 1)}
_SCALES = {"bytes": 1, **_BINARY, **_DECIMAL}
_REQUESTED = re.compile(rf"(?:Tried to allocate|tried to allocate|Unable to allocate) {_SIZE}")
_FREE = re.compile(rf"of which {_SIZE} is free|{_SIZE} free")
_TOTAL = re.compile(rf"total capacity of {_SIZE}|{_SIZE} total capacity")

_OOM_MESSAGES = re.compile(
    r"CUDA out of memory|CUDA (?:driver )?error: out of memory|cudaErrorMemoryAllocation"
    r"|HIP out of memory|hipErrorOutOfMemory|DefaultCPUAllocator: can't allocate memory"
    r"|DefaultCPUAllocator: not enough memory|CU(?:DNN|BLAS|SOLVER|SPARSE|FFT)_(?:STATUS_)?\w*ALLOC\w*FAILED"
    r"|CUBLAS_STATUS_NOT_INITIALIZED|std::bad_alloc"
)
"""What libraries say when memory is short. cuBLAS says "not initialized" if its handle has no room for a workspace."""

_LONGEST_MESSAGE = 4000

_KEPT: list[BaseException] = []


class SettingsMismatch(Exception):  # noqa: N818 - becomes a row, never an error of this program
    """A setting did not take effect; `findings` say which."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(" ".join(each.message for each in findings))
        self.findings = findings


def shortage(error: BaseException) -> BaseException | None:
    """The out-of-memory error: `error` itself, or the one it was raised from or while handling (graph capture and the
    compiler raise other errors then). None if memory was not short.
    """
    seen: BaseException | None = error
    while seen is not None and not is_out_of_memory(seen):
        seen = seen.__cause__ or seen.__context__
    return seen


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: torch's exception, Python's, or a RuntimeError from one of CUDA's libraries."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _OOM_MESSAGES.search(str(error)) is not None


def as_failed(
    error: BaseException,
    phase: str,
    *,
    peaks: dict[str, int] | None = None,
    log: str | None = None,
    effective: Effective | None = None,
) -> Failed:
    """The row for `error`. `peaks` are the device allocator's at that time: `allocated_bytes`, `reserved_bytes`."""
    if isinstance(error, Unsupported):
        status = "skipped" if isinstance(error, Missing) else "unsupported"
        return Failed(status=status, reason=str(error), effective=effective)
    short = shortage(error)
    findings = error.findings if isinstance(error, SettingsMismatch) else ()
    return Failed(
        status="failed" if short is None else "oom",
        reason=_reason(error, phase, short),
        failure=Failure(
            phase=phase,
            error=type(error).__name__,
            message=_message(error)[:_LONGEST_MESSAGE],
            log=log,
            **({} if short is None else _sizes(str(short))),
            **(peaks or {}),
        ),
        effective=effective,
        findings=findings,
    )


def write_traceback(error: BaseException) -> None:
    """Writes the traceback to stderr, the case's log. If memory was short, it frees what the frames hold, to have some
    for the report; otherwise it keeps them, because freeing an event of a broken device aborts the process. OSError if
    the log takes no more (a full disk).
    """
    try:
        traceback.print_exception(error, file=sys.__stderr__)  # a workload may have set sys.stderr to None
    finally:
        _keep_or_free(error)


def _keep_or_free(error: BaseException) -> None:
    if shortage(error) is None:
        _KEPT.append(error)
        return
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the workload ended the process with sys.exit({error.code!r})"
    hint = f" {error.hint}" if isinstance(error, GpubenchError) and error.hint else ""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return f"{error}{hint}{notes}" or repr(error)


def _reason(error: BaseException, phase: str, short: BaseException | None) -> str:
    """The reason in one line, for a table."""
    if short is not None:
        requested = _sizes(str(short)).get("requested_bytes")
        return f"out of memory in {phase}" + (f" (asked for {format_bytes(requested)})" if requested else "")
    if isinstance(error, SystemExit | GpubenchError | SettingsMismatch):
        return _message(error).strip().partition("\n")[0]
    notes = [str(note).partition("\n")[0] for note in getattr(error, "__notes__", ())]
    said = in_one_line(error, _LONGEST_MESSAGE)
    return ". ".join([said.rstrip("."), *notes]) if notes else said


def _sizes(message: str) -> dict[str, Any]:
    """The sizes named by an allocator, in bytes, without missing ones."""
    patterns = {"requested_bytes": _REQUESTED, "free_bytes": _FREE, "total_bytes": _TOTAL}
    sizes = {}
    for name, pattern in patterns.items():
        match = pattern.search(message)
        if match is not None:
            number, unit = (group for group in match.groups() if group is not None)
            sizes[name] = round(float(number) * _SCALES[unit])
    return sizes
