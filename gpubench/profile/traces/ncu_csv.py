"""Reads the output of `ncu --import REPORT --csv --page raw`: one row per kernel, with counters and open NVTX ranges.

ncu does not say when kernels ran, so they are put end to end and the trace has no timeline. A kernel's phase is the
range open in its process (start/end ranges, which `gpubench` opens for this tool), else the one open on its thread.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from gpubench.profile.traces.integrity import leave_out_impossible
from gpubench.profile.traces.trace import (
    MOST_DEVICES,
    MOST_NS,
    STEP,
    TWICE,
    UNNAMED,
    UNNUMBERED,
    LaunchCall,
    Operation,
    Range,
    Trace,
    TracedDevice,
    TraceError,
    decoded,
    listed,
    without_times,
)
from gpubench.protocol.profile_job import DOMAIN, PHASES

_DURATION = "gpu__time_duration.sum"
_TENSOR = ("sm__inst_executed_pipe_tensor", "sm__pipe_tensor")
_UNITS_NS = {
    **dict.fromkeys(("ns", "nsec", "nsecond", "nanosecond"), 1.0),
    **dict.fromkeys(("us", "usec", "usecond", "microsecond"), 1e3),
    **dict.fromkeys(("ms", "msec", "msecond", "millisecond"), 1e6),
    **dict.fromkeys(("s", "sec", "second"), 1e9),
}
_PHASE = re.compile(rf"\b{DOMAIN}:({'|'.join(PHASES)}):")
_RANGE_COLUMNS = _PROCESS_RANGES, _THREAD_RANGES = "Start/Stop_Range", "Push/Pop_Range"
_PLAIN = re.compile(r"(\d+|[1-9]\d{0,2}(,\d{3})+)(\.\d+)?([eE][+-]?\d+)?")
_GROUPED = re.compile(r"\d[^A-Za-z%()+-]*\d")

_HEADER = re.compile(r'^"ID",', re.MULTILINE)
_DIGITS = 18
_UNKNOWN_PROCESS = 0


class _Row(NamedTuple):
    """One kernel: cells and units by column, and the number of its table."""

    table: int
    cells: Mapping[str, str]
    units: Mapping[str, str]


def read(path: Path) -> Trace:
    """The kernels in ncu's output, which may contain other messages. TraceError if there are none.

    Kernels of unreadable length are left out and counted. Output of another locale is not read as numbers if a point or
    comma could be either a decimal sign or a separator. Each table has its own columns and units.
    """
    trace = Trace(tool="ncu", source=str(path), timeline=False, cuda_seen=True)
    kernels = list(_rows(path, trace))
    if not any(_DURATION in row.cells for row in kernels):
        raise TraceError(f"{path} holds no kernels of ncu: no table with the column {_DURATION}.")
    foreign = any(_is_foreign(cell.strip()) for row in kernels for cell in _counters(row))
    phases: list[str | None] = []
    ours = any(DOMAIN in cell for row in kernels for cell in _ranges_of(row.cells))
    at = 0
    for number, row in _distinct(kernels, trace):
        length = _length(row, foreign=foreign)
        if length is None:
            trace.unread[without_times("kernel")] += 1
            continue
        process, device = _whole(row.cells.get("Process ID")), _whole(row.cells.get("Device"))
        if process is None:
            process = _UNKNOWN_PROCESS
            trace.process_ids[process] = None
        if device is not None and device >= MOST_DEVICES:
            device = None
        trace.launches[process, number] = LaunchCall(at, at, process, process)
        operation = Operation(
            "kernel",
            row.cells.get("Kernel Name") or UNNAMED,
            at,
            at + length,
            (0, UNNUMBERED if device is None else device),
            _whole(row.cells.get("Stream")),
            process,
            (process, number),
            tensor_cores=_tensor_cores(_counters(row, _TENSOR), foreign=foreign),
        )
        trace.devices[operation.device] = TracedDevice(device)
        trace.operations.append(operation)
        phases.append(_phase(row.cells))
        at += length
    if foreign:
        trace.messages.append("The numbers were printed in another locale; print them with LC_ALL=C.")
    if not trace.operations:
        raise TraceError(
            f"{path} holds no kernel whose length can be read: {listed(trace.unread) or 'no rows'}, in the unit "
            f"{kernels[0].units.get(_DURATION)!r}.",
            hint="Print it again with: LC_ALL=C ncu --import REPORT --csv --page raw --print-units base",
        )
    trace.main_threads = {each.process: each.process for each in trace.launches.values()}
    trace.ranges = list(_ranges(trace.operations, phases)) if ours else []
    leave_out_impossible(trace)
    return trace


def _distinct(kernels: Sequence[_Row], trace: Trace) -> Iterator[tuple[int, _Row]]:
    """The kernels with their places, without repetitions and without those that share a number but differ."""
    alike: defaultdict[tuple[int, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in kernels:
        alike[row.table, row.cells["ID"]].append(row.cells)
    for number, row in enumerate(kernels):
        first, *others = alike[row.table, row.cells["ID"]]
        if any(each != first for each in others):
            trace.unread["kernels of the same number, of which none can be told to be right"] += 1
        elif row.cells is not first:
            trace.unread[f"kernels {TWICE}"] += 1
        else:
            yield number, row


def looks_like_one(head: bytes) -> bool:
    """Whether a file that begins with these bytes may be ncu's output."""
    return _HEADER.search(decoded(head)) is not None


def _rows(path: Path, trace: Trace) -> Iterator[_Row]:
    """A table begins with its column names, then their units. Rows of another length were cut off; rows without column
    names, or after a second row of units, cannot be interpreted.
    """
    columns: list[str] = []
    units: dict[str, str] | None = None
    table = 0
    for line in decoded(path.read_bytes()).replace("\r\n", "\n").split("\n"):
        cells = _cells(line) if line.startswith('"') else []
        if cells == []:
            continue
        if cells is not None and cells[0] == "ID":
            columns, units, table = cells, None, table + 1
        elif not columns:
            trace.unread["rows of a table without its columns"] += 1
        elif cells is None or len(cells) != len(columns):
            trace.unread["rows that were cut off"] += 1
        elif cells[0]:
            units = units or {}
            if _whole(cells[0]) is None:
                trace.unread["rows without a number"] += 1
            else:
                yield _Row(table, dict(zip(columns, cells, strict=True)), units)
        elif units is None:
            units = dict(zip(columns, cells, strict=True))
        else:
            columns = []


def _cells(line: str) -> list[str] | None:
    """None for a line that ends inside a cell. Raises csv's limit on the length of a cell, which some names exceed."""
    limit = csv.field_size_limit(max(len(line), 1))
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(limit)


def _counters(row: _Row, names: tuple[str, ...] = (_DURATION, *_TENSOR)) -> list[str]:
    return [cell for column, cell in row.cells.items() if column.startswith(names)]


def _length(row: _Row, *, foreign: bool) -> int | None:
    """Nanoseconds; None without a number or a known unit, or if no kernel can take that long."""
    duration = _number(row.cells.get(_DURATION), foreign=foreign)
    unit = _UNITS_NS.get(row.units.get(_DURATION, "").lower())
    if duration is None or unit is None or not 0.5 < duration * unit < MOST_NS:
        return None
    return round(duration * unit)


def _ranges(operations: Sequence[Operation], phases: Sequence[str | None]) -> Iterator[Range]:
    """One step around all kernels of a process, and phases around consecutive kernels of the same phase."""
    for process in dict.fromkeys(each.process for each in operations if each.process is not None):
        own = [(each, phase) for each, phase in zip(operations, phases, strict=True) if each.process == process]
        yield Range(DOMAIN, STEP, own[0][0].start, own[-1][0].end, process, process)
        for phase, group in groupby(own, key=lambda pair: pair[1]):
            members = [each for each, _ in group]
            if phase is not None:
                yield Range(DOMAIN, phase, members[0].start, members[-1].end, process, process)


def _phase(row: Mapping[str, str]) -> str | None:
    for cells in _ranges_of(row, _PROCESS_RANGES), _ranges_of(row, _THREAD_RANGES):
        found = [match for cell in cells for match in _PHASE.findall(cell)]
        if found:
            return str(found[-1])
    return None


def _ranges_of(row: Mapping[str, str], *kinds: str) -> list[str]:
    """The cells with the names of ranges open at the launch."""
    return [cell for column, cell in row.items() for kind in kinds or _RANGE_COLUMNS if kind in column]


def _is_foreign(text: str) -> bool:
    """Whether only other locales write a number so: a decimal comma, or groups by dots, spaces or apostrophes."""
    return bool(_GROUPED.fullmatch(text)) and not _PLAIN.fullmatch(text)


def _tensor_cores(cells: Sequence[str], *, foreign: bool) -> bool | None:
    """Whether a counter of the tensor pipe is above 0; None if the readable counters do not tell."""
    counts = [_number(cell, foreign=foreign) for cell in cells]
    if any(counts):
        return True
    return None if not counts or None in counts else False


def _number(text: str | None, *, foreign: bool) -> float | None:
    """None if it is not a number (`n/a`, `nan`, `inf`), or ambiguous in another locale."""
    text = (text or "").strip()
    if not _PLAIN.fullmatch(text) or (foreign and not text.isdecimal()):
        return None
    return float(text.replace(",", ""))


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None
