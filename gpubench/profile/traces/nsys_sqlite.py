"""Reads the SQLite file that `nsys export --type sqlite` makes.

The file is opened read-only.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gpubench.profile.traces.nsys_tables import EXPORT_AGAIN, NsysTables, as_text, base_name, check_whole
from gpubench.profile.traces.trace import (
    COPY_NAMES,
    MOST_DEVICES,
    UNNAMED,
    UNNUMBERED,
    DeviceKey,
    Direction,
    LaunchCall,
    Operation,
    OperationKind,
    Range,
    Trace,
    TracedDevice,
    TraceError,
    call_kind,
    without_times,
)

_DOMAIN_CREATED = 75
_RANGES = {59: True, 60: False, 70: True, 71: False}
"""NVTX event types that are ranges, and whether they nest; 70 and 71 were imported from text files."""
_MARKS = frozenset((33, 34, 39, 64, 65, 72, 73, 74, _DOMAIN_CREATED, 76, 97, 98, 99))
"""NVTX event types of marks and names, which no figure needs."""
_CUPTI = "CUPTI_ACTIVITY_KIND_"
_CALLS = (f"{_CUPTI}RUNTIME", f"{_CUPTI}DRIVER")
_NOT_NEEDED = frozenset(("SYNCHRONIZATION", "OVERHEAD", "CUDA_EVENT", "EXTERNAL_CORRELATION", "MARKER", "NAME"))
_LEVELS = {2: "warning", 3: "error"}
_SHOWN_LEVELS = ("fatal", "error", "warning")
_METADATA = ("META_DATA_EXPORT", "EXPORT_META_DATA")
_COPY_DIRECTIONS: dict[int, Direction] = {
    **dict.fromkeys((1, 3, 11), "h2d"),
    **dict.fromkeys((2, 4, 12), "d2h"),
    **dict.fromkeys((5, 6, 7, 8, 13), "d2d"),
    9: "h2h",
    10: "p2p",
}
_PLACE = ("start", "end", "deviceId", "streamId", "globalPid", "correlationId")
_PAYLOAD = ("int64Value", "uint64Value", "int32Value", "uint32Value")
_RANGE = ("start", "end", "eventType", "text", "textId", "globalTid", "domainId", *_PAYLOAD)
_PAGEABLE, _UNKNOWN_MEMORY = 0, 7
_LOW_BITS = 0xFFFFFF
"""A globalTid holds, from the lowest bits up, thread id, process id and machine; a main thread has its process's id."""


def read(path: Path) -> Trace:
    """TraceError if the file is damaged, or not an export of Nsight Systems."""
    check_whole(path)
    uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _Reader(NsysTables(connection), path).read()
    except (sqlite3.Error, ArithmeticError, TypeError, ValueError) as error:  # also from text in a column of numbers
        raise TraceError(
            f"{path} could not be read as an export of Nsight Systems: {error}.",
            hint=EXPORT_AGAIN,
        ) from error


class _Reader:
    def __init__(self, tables: NsysTables, path: Path) -> None:
        self._tables, self._rows = tables, tables.rows
        self._path = path
        self._strings = {number: as_text(value) for number, value in self._rows("StringIds", ("id", "value"))}
        self._gpus: dict[tuple[int, int], int] = {}
        self._users: defaultdict[DeviceKey, set[int]] = defaultdict(set)  # processes with a GPU numbering of their own
        self._machines: list[int] = []
        self._processes: list[int] = []

    def read(self) -> Trace:
        version = None
        for table in _METADATA:
            found = dict(self._rows(table, ("name", "value")))
            if found:
                version = found.get("EXPORT_PRODUCT_VERSION") or found.get("EXPORT_SCHEMA_VERSION")
                break
        known = any(name.startswith(("CUPTI_", "NVTX_EVENTS", "TARGET_INFO_")) for name in self._tables.names)
        if version is None and not known:
            raise TraceError(
                f"{self._path} is an SQLite file, but not an export of Nsight Systems.",
                hint="Expected a file made by: nsys export --type sqlite REPORT.nsys-rep",
            )
        trace = Trace(tool="nsys", tool_version=None if version is None else str(version), source=str(self._path))
        trace.capture_ns = max(
            (row[0] for row in self._rows("ANALYSIS_DETAILS", ("duration",)) if (row[0] or 0) > 0), default=None
        )
        self._read_launches(trace)
        self._read_gpus()
        self._read_operations(trace)
        self._read_ranges(trace)
        self._read_diagnostics(trace)
        self._count_other_tables(trace)
        seen = {launch.process for launch in trace.launches.values()} | {each.process for each in trace.ranges}
        trace.main_threads = {process: process << 24 | process & _LOW_BITS for process in seen}
        self._name_devices(trace, seen)
        return trace

    def _read_launches(self, trace: Trace) -> None:
        launches = trace.launches
        kinds = {number: call_kind(name) for number, name in self._strings.items()}
        columns = ("start", "end", "globalTid", "correlationId", "nameId", "returnValue")
        for table in _CALLS:
            for start, end, thread, correlation, name, failed in self._rows(table, columns):
                trace.cuda_seen = True
                kind = kinds.get(name, "unnamed")
                if kind == "unnamed":
                    trace.unread["calls without a name"] += 1
                if thread is None or thread < 0:
                    trace.unread["calls without a thread"] += 1
                    continue
                if not correlation:
                    continue
                if start is None:
                    trace.unread["calls without times"] += 1
                    continue
                process = thread >> 24
                known = launches.get((process, correlation))
                if known is None or start < known.start:  # of nested calls, the outer one is the launch
                    launches[process, correlation] = LaunchCall(
                        start, start if end is None else end, process, thread, "other" if failed else kind
                    )
        self._processes = sorted({launch.process for launch in launches.values()})

    def _read_gpus(self) -> None:
        """CUDA's number of a GPU in a process -> its number in the report. Process ids repeat between machines: where
        they contradict each other, nothing is known.
        """
        found: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for gpu, cuda, pid in self._rows("TARGET_INFO_CUDA_DEVICE", ("gpuId", "cudaId", "pid")):
            if gpu is not None and 0 <= gpu < MOST_DEVICES and cuda is not None and pid is not None:
                found[pid & _LOW_BITS, cuda].add(gpu)
        self._gpus = {key: gpus.pop() for key, gpus in found.items() if len(gpus) == 1}

    def _read_operations(self, trace: Trace) -> None:
        string = self._strings.get
        for row in self._rows("CUPTI_ACTIVITY_KIND_KERNEL", (*_PLACE, "demangledName", "shortName")):
            name = string(row[6]) or string(row[7]) or UNNAMED
            self._add(trace, row, "kernel", name)
        for row in self._rows("CUPTI_ACTIVITY_KIND_MEMCPY", (*_PLACE, "bytes", "copyKind", "srcKind", "dstKind")):
            direction = _COPY_DIRECTIONS.get(row[7], "other")
            host = {"h2d": row[8], "d2h": row[9]}.get(direction)
            pageable = None if host is None or not 0 <= host < _UNKNOWN_MEMORY else host == _PAGEABLE
            self._add(trace, row, "copy", COPY_NAMES[direction], row[6], direction, pageable)
        for row in self._rows("CUPTI_ACTIVITY_KIND_MEMSET", (*_PLACE, "bytes")):
            self._add(trace, row, "memset", "Memset", row[6])
        for row in self._rows("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", _PLACE):
            self._add(trace, row, "graph", "CUDA graph")

    def _add(
        self,
        trace: Trace,
        row: tuple[Any, ...],
        kind: OperationKind,
        name: str,
        num_bytes: int | None = None,
        direction: Direction | None = None,
        pageable: bool | None = None,
    ) -> None:
        """`row` begins with the columns of `_PLACE`."""
        start, end, number, stream, global_pid, correlation = row[:6]
        if start is None or end is None or end < start or not end:
            trace.unread[without_times(kind)] += 1
            return
        process = self._process(global_pid, correlation, trace)
        if number is None or not 0 <= number < MOST_DEVICES:
            number = UNNUMBERED
        gpu = self._gpus.get((0 if process is None else process & _LOW_BITS, number))
        machine = None if process is None else process >> 24
        if machine is not None and machine not in self._machines:
            self._machines.append(machine)
        device = (0 if machine is None else self._machines.index(machine), number if gpu is None else gpu)
        if process is not None and gpu is None and number != UNNUMBERED:
            self._users[device].add(process)
        launch = None if process is None or not correlation else (process, correlation)
        trace.operations.append(
            Operation(
                kind,
                name,
                start,
                end,
                device,
                stream,
                process,
                launch if launch in trace.launches else None,
                None if num_bytes is None or num_bytes < 0 else num_bytes,
                direction,
                pageable,
                correlation=correlation or None,
            )
        )

    def _process(self, global_pid: int | None, correlation: int | None, trace: Trace) -> int | None:
        """GlobalPid has the process in the same bits as globalTid. Old exports lack it: then it is the only process, or
        the only one with this correlation.
        """
        if global_pid is not None:
            return int(global_pid) >> 24 if global_pid >= 0 else None
        if len(self._processes) == 1:
            return self._processes[0]
        able = [each for each in self._processes if correlation and (each, correlation) in trace.launches]
        return able[0] if len(able) == 1 else None

    def _name_devices(self, trace: Trace, processes: Collection[int]) -> None:
        """GPUs and process ids are numbered per machine: in a report of several, their names say of which."""
        names: dict[tuple[int | None, int], str] = {}
        for machine, gpu, name in self._rows("TARGET_INFO_GPU", ("vmId", "id", "name")):
            if name is not None:
                names[machine, gpu] = names[None, gpu] = str(name)
        for device, users in self._users.items():
            if len(users) > 1:
                trace.messages.append(
                    f"{len(users)} processes have a GPU {device[1]}; the export does not say if it is the same."
                )
        several = len(self._machines) > 1
        for device in {each.device for each in trace.operations}:
            index, number = device
            machine = self._machines[index] << 48 if self._machines else None
            owner = f"machine {index + 1}" if several else None
            name = names.get((machine, number)) or (None if several else names.get((None, number)))
            trace.devices[device] = TracedDevice(None if number == UNNUMBERED else number, name, owner)
        if several:
            for process in processes:
                if process >> 24 in self._machines:
                    machine_number = self._machines.index(process >> 24) + 1
                    trace.process_names[process] = f"{process & _LOW_BITS} on machine {machine_number}"

    def _read_ranges(self, trace: Trace) -> None:
        rows = list(self._rows("NVTX_EVENTS", _RANGE))
        domains: dict[tuple[int | None, int], str] = {}
        for _, _, kind, text, text_id, thread, domain, *_ in rows:
            if kind == _DOMAIN_CREATED:
                named = as_text(text) if text is not None else self._strings.get(text_id, "")
                domains[None if thread is None else thread >> 24, domain] = named
        last = max((moment for row in rows for moment in row[:2] if moment is not None), default=0)
        last = max([last, *(operation.end for operation in trace.operations)])
        for start, end, kind, text, text_id, thread, domain, *payloads in rows:
            if kind in _MARKS:
                trace.known_rows += 1
                continue
            if kind not in _RANGES:
                trace.unread[f"events of NVTX type {kind}"] += 1
                continue
            if thread is None or thread < 0 or start is None:
                trace.unread["ranges without a thread or a start"] += 1
                continue
            if text is None and text_id not in self._strings:
                trace.unread["ranges without a name"] += 1
                continue
            if end is not None and end < start:
                trace.unread["ranges that end before they begin"] += 1
                continue
            process = thread >> 24
            name = as_text(text) if text is not None else self._strings.get(text_id, "")
            payload = next((int(value) for value in payloads if value is not None), None)
            cut_off = end is None
            trace.ranges.append(
                Range(
                    domains.get((process, domain)) or domains.get((None, domain), ""),
                    name,
                    start,
                    last if end is None else end,
                    process,
                    thread,
                    payload,
                    _RANGES[kind],
                    cut_off,
                )
            )

    def _read_diagnostics(self, trace: Trace) -> None:
        levels = dict(self._rows("ENUM_DIAGNOSTIC_SEVERITY_LEVEL", ("id", "name"))) or _LEVELS
        events = self._rows("DIAGNOSTIC_EVENT", ("severity", "text"))
        rows = [(str(levels.get(level)).lower(), as_text(text)) for level, text in events]
        worst_first = sorted(
            (row for row in rows if row[0] in _SHOWN_LEVELS), key=lambda row: _SHOWN_LEVELS.index(row[0])
        )
        trace.messages += dict.fromkeys(text.strip() for _, text in worst_first)

    def _count_other_tables(self, trace: Trace) -> None:
        for table in self._tables.unread():
            kind = base_name(table)
            if not kind.startswith(_CUPTI) and kind != "NVTX_EVENTS":
                continue
            count = self._tables.num_rows(table)
            if kind.removeprefix(_CUPTI) in _NOT_NEEDED:
                trace.known_rows += count
            elif count:
                trace.unread[f"rows of {table}"] += count
