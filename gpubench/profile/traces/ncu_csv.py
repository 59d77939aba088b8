"""Reads what `ncu --import REPORT --csv --page raw` prints: a row per kernel, with counters and open NVTX ranges.

The kernels are laid end to end, for ncu does not say when they ran; the trace has no timeline. A kernel's phase is the
range open in its process (start/end ranges, which `gpubench` opens for this tool), else on its thread.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from gpubench.profile.traces.trace import STEP, LaunchCall, Operation, Range, Trace, TraceError
from gpubench.protocol.profile_job import DOMAIN, PHASES

_DURATION = "gpu__time_duration.sum"
_TENSOR = ("sm__inst_executed_pipe_tensor", "sm__pipe_tensor")
_UNITS_NS = {"ns": 1.0, "nsecond": 1.0, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9, "second": 1e9}
_PHASE = re.compile(rf"\b{DOMAIN}:({'|'.join(PHASES)}):")
_PROCESS_RANGES, _THREAD_RANGES = "Start/Stop_Range", "Push/Pop_Range"

Row = Mapping[str, str]


def read(path: Path) -> Trace:
    """The kernels in a file of what ncu printed, its other messages included. TraceError if there are none."""
    with path.open(newline="", errors="replace") as file:
        lines = [line for line in file if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    if len(rows) < 2 or _DURATION not in rows[0]:
        raise TraceError(f"{path} holds no kernels of ncu: no table with the column {_DURATION}.")
    units, kernels = rows[0], [row for row in rows[1:] if (row.get("ID") or "").isdigit()]
    trace = Trace(tool="ncu", source=str(path), timeline=False, cuda_seen=True)
    phases: list[str | None] = []
    at = 0
    for number, row in enumerate(kernels):
        process = _whole(row.get("Process ID"))
        length = max(1, round(_number(row.get(_DURATION)) * _UNITS_NS.get(units.get(_DURATION) or "ns", 1.0)))
        trace.launches[number] = LaunchCall(at, at, process, process)
        trace.operations.append(
            Operation(
                "kernel",
                row.get("Kernel Name") or "(unnamed kernel)",
                at,
                at + length,
                _whole(row.get("Device")),
                _whole(row.get("Stream")),
                process,
                number,
                tensor_cores=_tensor_cores(row),
            )
        )
        phases.append(_phase(row))
        at += length
    trace.main_threads = {each.process: each.process for each in trace.operations}
    trace.ranges = list(_ranges(trace.operations, phases))
    return trace


def _ranges(operations: Sequence[Operation], phases: Sequence[str | None]) -> Iterator[Range]:
    """One step around everything of a process, and a phase around neighbours that have it."""
    for process in dict.fromkeys(each.process for each in operations):
        own = [(each, phase) for each, phase in zip(operations, phases, strict=True) if each.process == process]
        yield Range(DOMAIN, STEP, own[0][0].start, own[-1][0].end, process, process)
        for phase, group in groupby(own, key=lambda pair: pair[1]):
            members = [each for each, _ in group]
            if phase is not None:
                yield Range(DOMAIN, phase, members[0].start, members[-1].end, process, process)


def _phase(row: Row) -> str | None:
    for kind in (_PROCESS_RANGES, _THREAD_RANGES):
        cells = [value for column, value in row.items() if column and kind in column and value]
        found = [match for cell in cells for match in _PHASE.findall(cell)]
        if found:
            return str(found[-1])
    return None


def _tensor_cores(row: Row) -> bool | None:
    """Whether any counter of the tensor pipe moved; None if none was read."""
    cells = [value or "" for column, value in row.items() if column and column.startswith(_TENSOR)]
    counters = [cell for cell in cells if re.fullmatch(r"[\d.,]+", cell)]
    return any(_number(value) > 0 for value in counters) if counters else None


def _number(text: str | None) -> float:
    try:
        return float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
