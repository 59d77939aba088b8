"""Reads what `ncu --import REPORT --csv --page raw` prints: a row per kernel, with counters and open NVTX ranges.

The kernels are laid end to end, for ncu does not say when they ran; the trace has no timeline. A kernel's phase is the
range open in its process (start/end ranges, which `gpubench` opens for this tool), else on its thread.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from gpubench.profile.traces.trace import STEP, LaunchCall, Operation, Range, Trace, TraceError, listed, without_times
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
_PROCESS_RANGES, _THREAD_RANGES = "Start/Stop_Range", "Push/Pop_Range"
_PLAIN = re.compile(r"(\d+|[1-9]\d{0,2}(,\d{3})+)(\.\d+)?([eE][+-]?\d+)?")
_DIGITS = re.compile(r"\d[^A-Za-z%()+-]*\d")

Row = Mapping[str, str]


def read(path: Path) -> Trace:
    """The kernels in a file of what ncu printed, its other messages included. TraceError if there are none.

    A kernel whose length cannot be read is left out and counted. If the file was printed in another locale, numbers
    with a point or a comma could be meant in two ways, so none of them is read.
    """
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    if len(rows) < 2 or _DURATION not in rows[0]:
        raise TraceError(f"{path} holds no kernels of ncu: no table with the column {_DURATION}.")
    units, kernels = rows[0], [row for row in rows[1:] if (row.get("ID") or "").isdigit()]
    unit = _UNITS_NS.get((units.get(_DURATION) or "ns").lower())
    counters = [column for column in rows[0] if column and column.startswith((_DURATION, *_TENSOR))]
    foreign = any(_is_foreign((row.get(column) or "").strip()) for row in kernels for column in counters)
    trace = Trace(tool="ncu", source=str(path), timeline=False, cuda_seen=True)
    phases: list[str | None] = []
    at = 0
    for number, row in enumerate(kernels):
        duration = _number(row.get(_DURATION), foreign=foreign)
        if duration is None or unit is None:
            trace.unread[without_times("kernel")] += 1
            continue
        process = _whole(row.get("Process ID"))
        length = max(1, round(duration * unit))
        trace.launches[process, number] = LaunchCall(at, at, process, process)
        trace.operations.append(
            Operation(
                "kernel",
                row.get("Kernel Name") or "(unnamed kernel)",
                at,
                at + length,
                _whole(row.get("Device")),
                _whole(row.get("Stream")),
                process,
                (process, number),
                tensor_cores=_tensor_cores([row.get(column) for column in counters[1:]], foreign=foreign),
            )
        )
        phases.append(_phase(row))
        at += length
    if foreign:
        trace.messages.append("The numbers were printed in another locale; print them with LC_ALL=C.")
    if not trace.operations:
        raise TraceError(
            f"{path} holds no kernel whose length can be read: {listed(trace.unread) or 'no rows'}, in the unit "
            f"{units.get(_DURATION)!r}.",
            hint="Print it again with: LC_ALL=C ncu --import REPORT --csv --page raw --print-units base",
        )
    trace.main_threads = {each.process: each.process for each in trace.launches.values()}
    trace.ranges = list(_ranges(trace.operations, phases))
    return trace


def _ranges(operations: Sequence[Operation], phases: Sequence[str | None]) -> Iterator[Range]:
    """One step around everything of a process, and a phase around neighbours that have it."""
    for process in dict.fromkeys(each.process for each in operations if each.process is not None):
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


def _is_foreign(text: str) -> bool:
    """Whether only another locale writes a number so: groups by dots, spaces or apostrophes, decimals by a comma."""
    return bool(_DIGITS.fullmatch(text)) and not _PLAIN.fullmatch(text)


def _tensor_cores(cells: Sequence[str | None], *, foreign: bool) -> bool | None:
    """Whether any counter of the tensor pipe moved; None if that cannot be told from those that were read."""
    counts = [_number(cell, foreign=foreign) for cell in cells]
    if any(counts):
        return True
    return None if not counts or None in counts else False


def _number(text: str | None, *, foreign: bool) -> float | None:
    """None for what is no number (`n/a`, `nan`, `inf`), or might be another one in the locale it was printed in."""
    text = (text or "").strip()
    if not _PLAIN.fullmatch(text) or (foreign and not text.isdecimal()):
        return None
    return float(text.replace(",", ""))


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
