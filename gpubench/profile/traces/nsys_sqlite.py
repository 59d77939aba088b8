"""Reads the SQLite file that `nsys export --type sqlite` makes.

Tables exist only when they hold rows and columns come and go between versions, so both are looked up before they are
asked for. Nothing is written: the file is opened read-only.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gpubench.profile.traces.trace import (
    COPY_NAMES,
    Direction,
    LaunchCall,
    Operation,
    OperationKind,
    Range,
    Trace,
    TraceError,
)

_DOMAIN_CREATED, _PUSH_POP, _START_END = 75, 59, 60
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
"""A globalTid is the thread id, the process id above it, the machine above that; a main thread has its process's id."""
MAGIC = b"SQLite format 3\0"
"""What the file begins with."""


def read(path: Path) -> Trace:
    """The trace in an export. TraceError if the file is damaged or no export of Nsight Systems."""
    uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _Reader(connection, path).read()
    except sqlite3.Error as error:
        raise TraceError(
            f"{path} could not be read as an export of Nsight Systems: {error}.",
            hint="Export the report again: nsys export --type sqlite --force-overwrite=true REPORT.nsys-rep",
        ) from error


class _Reader:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        self._tables = {
            name: frozenset(row[1] for row in connection.execute(f'PRAGMA table_info("{name}")'))
            for (name,) in names
            if '"' not in name
        }
        self._strings: dict[int, str] = dict(self._rows("StringIds", ("id", "value")))
        self._devices: dict[tuple[int, int], int] = {}
        self._processes: list[int] | None = None

    def _rows(self, table: str, columns: Sequence[str], where: str = "") -> Iterator[tuple[Any, ...]]:
        """Rows of `table` in these columns, None for a column it lacks; nothing if there is no such table."""
        have = self._tables.get(table)
        if have is None:
            return iter(())
        wanted = ", ".join(f'"{column}"' if column in have else "NULL" for column in columns)
        return self._connection.execute(f'SELECT {wanted} FROM "{table}" {where}')  # noqa: S608 - names looked up in the schema

    def read(self) -> Trace:
        version = None
        for table in _METADATA:
            found = dict(self._rows(table, ("name", "value")))
            if found:
                version = found.get("EXPORT_PRODUCT_VERSION") or found.get("EXPORT_SCHEMA_VERSION")
                break
        known = any(name.startswith(("CUPTI_", "NVTX_EVENTS", "TARGET_INFO_")) for name in self._tables)
        if version is None and not known:
            raise TraceError(
                f"{self._path} is an SQLite file, but not an export of Nsight Systems.",
                hint="Expected a file made by: nsys export --type sqlite REPORT.nsys-rep",
            )
        trace = Trace(tool="nsys", tool_version=None if version is None else str(version), source=str(self._path))
        for gpu, name in self._rows("TARGET_INFO_GPU", ("id", "name")):
            if name is not None:
                trace.device_names[gpu] = str(name)
        for gpu, cuda, pid in self._rows("TARGET_INFO_CUDA_DEVICE", ("gpuId", "cudaId", "pid")):
            if gpu is not None and cuda is not None and pid is not None:
                self._devices[pid, cuda] = gpu  # CUDA's number in that process -> the GPU's number in the report
        self._read_launches(trace)
        self._read_operations(trace)
        self._read_ranges(trace)
        seen = {launch.process for launch in trace.launches.values()} | {each.process for each in trace.ranges}
        trace.main_threads = {process: process << 24 | process & _LOW_BITS for process in seen}
        return trace

    def _read_launches(self, trace: Trace) -> None:
        launches = trace.launches
        for start, end, thread, correlation in self._rows(
            "CUPTI_ACTIVITY_KIND_RUNTIME", ("start", "end", "globalTid", "correlationId")
        ):
            trace.cuda_seen = True
            if correlation is None or thread is None or start is None:
                continue
            process = thread >> 24
            key = _key(process, correlation)
            known = launches.get(key)
            if known is None or start < known.start:  # a call within a call: the outer one began it
                launches[key] = LaunchCall(start, end if end is not None else start, process, thread)

    def _read_operations(self, trace: Trace) -> None:
        string = self._strings.get
        for row in self._rows("CUPTI_ACTIVITY_KIND_KERNEL", (*_PLACE, "demangledName", "shortName")):
            name = string(row[6]) or string(row[7]) or "(unnamed kernel)"
            self._add(trace, row, "kernel", name)
        for row in self._rows("CUPTI_ACTIVITY_KIND_MEMCPY", (*_PLACE, "bytes", "copyKind", "srcKind", "dstKind")):
            direction = _COPY_DIRECTIONS.get(row[7], "other")
            host = {"h2d": row[8], "d2h": row[9]}.get(direction)
            pageable = None if host is None or host >= _UNKNOWN_MEMORY else host == _PAGEABLE
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
        start, end, device, stream, global_pid, correlation = row[:6]
        if start is None or end is None:
            trace.unread[f"{kind} without times"] = trace.unread.get(f"{kind} without times", 0) + 1
            return
        process = self._process(global_pid, correlation, trace)
        launch = None if correlation is None else _key(process, correlation)
        trace.operations.append(
            Operation(
                kind,
                name,
                start,
                max(start, end),
                self._devices.get((process & _LOW_BITS, device or 0), device or 0),
                stream or 0,
                process,
                launch if launch in trace.launches else None,
                num_bytes,
                direction,
                pageable,
            )
        )

    def _process(self, global_pid: int | None, correlation: int | None, trace: Trace) -> int:
        """GlobalPid has the process in the same bits as globalTid. Old exports lack it: then it is the only process, or
        the only one with this correlation.
        """
        if global_pid is not None:
            return global_pid >> 24
        if self._processes is None:
            self._processes = sorted({launch.process for launch in trace.launches.values()})
        processes = self._processes
        if len(processes) == 1:
            return processes[0]
        candidates = [
            each for each in processes if correlation is not None and _key(each, correlation) in trace.launches
        ]
        return candidates[0] if len(candidates) == 1 else 0

    def _read_ranges(self, trace: Trace) -> None:
        rows = list(self._rows("NVTX_EVENTS", _RANGE))
        domains: dict[tuple[int | None, int], str] = {}
        for _, _, kind, text, text_id, thread, domain, *_ in rows:
            if kind == _DOMAIN_CREATED:
                named = text if text is not None else self._strings.get(text_id, "")
                domains[None if thread is None else thread >> 24, domain] = named
        last = max((moment for row in rows for moment in row[:2] if moment is not None), default=0)
        last = max([last, *(operation.end for operation in trace.operations)])
        for start, end, kind, text, text_id, thread, domain, *payloads in rows:
            if kind not in (_PUSH_POP, _START_END) or thread is None or start is None:
                continue
            process = thread >> 24
            name = text if text is not None else self._strings.get(text_id, "")
            payload = next((int(value) for value in payloads if value is not None), None)
            trace.ranges.append(
                Range(
                    domains.get((process, domain)) or domains.get((None, domain), ""),
                    name,
                    start,
                    last if end is None else end,
                    process,
                    thread,
                    payload,
                    kind == _PUSH_POP,
                )
            )


def _key(process: int, correlation: int) -> int:
    """Correlation numbers are those of a process."""
    return process << 40 | correlation
