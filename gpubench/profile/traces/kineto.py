"""Reads the Chrome trace that torch.profiler (Kineto) writes, plain or gzip; also that of torch 1.8 to 1.11."""

import gzip
import json
import re
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from gpubench.profile.traces.trace import (
    COPY_NAMES,
    Direction,
    Key,
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
from gpubench.protocol.profile_job import DOMAIN

PREFIX = f"{DOMAIN}/"
"""What our own ranges begin with in a torch trace, which has no domains."""

_DECIMALS = 3
_GZIP_MAGIC = b"\x1f\x8b"
_EXPECTED = "Expected a file made by torch.profiler's export_chrome_trace (torch 1.8.1 or newer)."
_LAUNCHES = re.compile(r"(\w+_)?(runtime|driver)")
_DEVICE_WORK: dict[str, OperationKind] = {
    **dict.fromkeys(("kernel", "concurrent_kernel"), "kernel"),
    **dict.fromkeys(("gpu_memcpy", "memcpy"), "copy"),
    **dict.fromkeys(("gpu_memset", "memset"), "memset"),
}
_NOT_NEEDED = re.compile(
    "cpu_op|cpu_instant_event|gpu_user_annotation|python_function|overhead|cuda_sync|cuda_event|trace"
    "|external_correlation|fwdbwd|ac2g|operator"
)
_OLD_OPERATOR = "operator"
_OPERATOR_NAME = re.compile(r"::|Backward\d*$")
_DURATION_EVENTS = ("X", "B")
_NO_DURATION = frozenset("EiIMsftCPRNODvVSTpFnabec()")
_COPY = re.compile(r"Memcpy (\w+)to(\w+)", re.IGNORECASE)
_COPY_SIDES = re.compile(r"\(\s*([\w ]+?)\s*->\s*([\w ]+?)\s*\)")
_MEMORY = {"pageable": True, "pinned": False}
_ENDS = {"h": "h", "d": "d", "a": "d", "p": "p"}
"""Host, device, array (which lies on a device) and peer, by the first letter in the name of a copy."""
_RANK = re.compile(r".*?\brank\D{0,3}(\d+)(?:\D+(\d{1,7}))?", re.IGNORECASE)
"""The rank and the process id in what tools that merge the traces of several ranks call a process."""
_PID_BITS = 24


def read(path: Path) -> Trace:
    """The trace in a file of torch.profiler. TraceError if it is damaged, or JSON of another kind."""
    document = _load(path)
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if _is_nsys_row(document if isinstance(document, dict) else next(iter(events or ()), None)):
        raise TraceError(f"{path} is a report of Nsight Systems that was exported to JSON.", hint=_EXPORT_TO_SQLITE)
    if not isinstance(events, list):
        raise TraceError(f"{path} is JSON, but no trace: it has no list `traceEvents`.", hint=_EXPECTED)
    head = document if isinstance(document, dict) else {}
    return _KinetoReader(str(path), head).read(events)


class _DeviceEvent(NamedTuple):
    """Work of a device that waits until all launches are known. `track` is the process that the file draws it in."""

    position: int
    track: Any
    correlation: int | None
    operation: Operation


class _KinetoReader:
    def __init__(self, source: str, head: dict[str, Any]) -> None:
        self._trace = Trace(tool="torch", source=source)
        self._names: dict[int, str] = {}
        self._work: list[_DeviceEvent] = []
        self._repeated: set[Key] = set()
        self._extent: dict[int, tuple[int, int]] = {}  # process -> first and last of its host events in the file
        for level in ("ERROR", "WARNING"):  # what Kineto logged
            logged = head.get(level)
            self._trace.messages += map(str, logged if isinstance(logged, list) else ())
        devices = head.get("deviceProperties")
        for device in devices if isinstance(devices, list) else ():
            if isinstance(device, dict) and (number := _integer(device.get("id"))) is not None and "name" in device:
                self._names[number] = str(device["name"])

    def read(self, events: list[Any]) -> Trace:
        trace = self._trace
        for index, event in enumerate(events):
            phase = event.get("ph") if isinstance(event, dict) else None
            if phase in _DURATION_EVENTS:
                self._read_event(index, event, str(event.get("cat") or "").lower())
            elif phase not in _NO_DURATION:
                trace.unread["entries that are no trace events"] += 1
        last = max((end for each in (trace.ranges, trace.launches.values()) for _, end in _spans(each)), default=0)
        last = max([last, *(each.operation.end for each in self._work)])
        trace.ranges = [each._replace(end=max(each.start, last)) if each.cut_off else each for each in trace.ranges]
        for key in self._repeated:
            del trace.launches[key]
        counts = Counter(launch.process for launch in trace.launches.values())
        seen = [*(process for process, _ in counts.most_common()), *(each.process for each in trace.ranges)]
        trace.main_threads = {process: process for process in seen}
        self._link(list(counts) or list(trace.main_threads)[:1])
        return trace

    def _read_event(self, index: int, event: dict[str, Any], category: str) -> None:
        trace = self._trace
        name = str(event.get("name", ""))
        kind = _DEVICE_WORK.get(category)
        if event["ph"] == "B":
            trace.unread["events in two halves (B and E)"] += 1
        elif category == "user_annotation" or (category == _OLD_OPERATOR and not _OPERATOR_NAME.search(name)):
            self._read_range(index, event, name)
        elif kind is not None:
            self._read_work(index, event, name, kind)
        elif _LAUNCHES.fullmatch(category):
            self._read_launch(index, event, name)
        elif _NOT_NEEDED.fullmatch(category):
            trace.known_rows += 1
            if category == "trace":
                start, end = _times(event)
                if start is not None and end is not None:
                    trace.capture_ns = (trace.capture_ns or 0) + end - start
        else:
            trace.unread[f"events of category `{event['cat']}`" if category else "events without a category"] += 1

    def _read_range(self, index: int, event: dict[str, Any], text: str) -> None:
        start, end = _times(event)
        if start is None:
            self._trace.unread["ranges without times"] += 1
            return
        domain, name = (DOMAIN if text.startswith(PREFIX) else ""), text.removeprefix(PREFIX)
        process = self._process(index, event)
        thread, stop = _number(event.get("tid")), start if end is None else end
        self._trace.ranges.append(Range(domain, name, start, stop, process, thread, cut_off=end is None))

    def _read_launch(self, index: int, event: dict[str, Any], name: str) -> None:
        """Of a call within a call the outer one counts: it began the work."""
        trace = self._trace
        trace.cuda_seen = True
        process = self._process(index, event)
        correlation = _integer(_arguments(event).get("correlation"))
        if not correlation:
            return
        start, end = _times(event)
        if start is None:
            trace.unread["calls without times"] += 1
            return
        call = LaunchCall(start, start if end is None else end, process, _number(event.get("tid")), call_kind(name))
        known = trace.launches.setdefault((process, correlation), call)
        if known is not call:
            outer, inner = sorted((call, known), key=lambda each: (each.start, -each.end))
            if inner.end > outer.end:
                self._repeated.add((process, correlation))
                trace.unread["calls whose correlation number is used twice in their process"] += 1
            trace.launches[process, correlation] = outer

    def _process(self, index: int, event: dict[str, Any]) -> int:
        named = event.get("pid")
        process = _number(named)
        rank = _RANK.match(named) if isinstance(named, str) else None
        if rank:
            process = int(rank[1]) + 1 << _PID_BITS | (_integer(rank[2] or "0") or 0)
            self._trace.process_names[process] = f"rank {rank[1]}"
        self._extent[process] = (self._extent.get(process, (index, index))[0], index)
        return process

    def _read_work(self, index: int, event: dict[str, Any], name: str, kind: OperationKind) -> None:
        start, end = _times(event)
        if start is None or end is None or start == end == 0:  # CUPTI gives 0 and 0 where it could not time a kernel
            self._trace.unread[without_times(kind)] += 1
            return
        arguments = _arguments(event)
        direction: Direction | None = None
        pageable: bool | None = None
        if kind == "copy":
            direction, pageable = _way(name)
            name = COPY_NAMES[direction]
        elif kind == "memset":
            name = "Memset"
        device = _number(arguments.get("device", event.get("pid")))
        stream = _number(arguments.get("stream", event.get("tid")))
        size = _integer(arguments.get("bytes"))
        operation = Operation(
            kind, name, start, end, device, stream, None, None, None if size is None or size < 0 else size
        )
        operation = operation._replace(direction=direction, pageable=pageable)
        correlation = _integer(arguments.get("correlation")) or None
        self._work.append(_DeviceEvent(index, event.get("pid"), correlation, operation))

    def _link(self, processes: list[int]) -> None:
        """Finds the launch of each piece of work, and gives devices that several processes number a key for each.

        torch.profiler sees one process; a file with calls of several was merged from the files of several ranks, which
        all begin to count correlation numbers and devices at the same number.
        """
        trace = self._trace
        merged = len(processes) > 1
        owners = self._owners_of_tracks(processes) if merged else {}
        blocks = self._blocks(processes) if merged else []
        unclear = 0
        for index, track, correlation, operation in self._work:
            number = operation.device
            if not merged:
                process = processes[0] if processes else None
                key = None if process is None or correlation is None else (process, correlation)
                found = key if key in trace.launches else None
                trace.devices[number] = TracedDevice(number, self._names.get(number))
                trace.operations.append(operation._replace(process=process, launch=found))
                continue
            process = owners.get(str(track))
            if process is None and blocks:
                process = blocks[max(0, bisect_right(blocks, (index, 1 << 62)) - 1)][1]
            if process is None and correlation is not None:
                able = [each for each in processes if (each, correlation) in trace.launches]
                process = able[0] if len(able) == 1 else None
            unclear += process is None
            key = None if process is None or correlation is None else (process, correlation)
            device = (processes.index(process) + 1 if process is not None else 0) << 16 | number & 0xFFFF
            owner = "an unknown process" if process is None else self._owner_name(process)
            trace.devices[device] = TracedDevice(number, self._names.get(number), owner)
            found = key if key in trace.launches else None
            trace.operations.append(operation._replace(device=device, process=process, launch=found))
        if merged:
            for process in processes:
                trace.process_names.setdefault(process, self._owner_name(process))
        if unclear:
            trace.messages.append(
                f"Several processes use the same correlation numbers, and nothing tells which of them launched "
                f"{unclear} pieces of GPU work."
            )

    def _owner_name(self, process: int) -> str:
        return self._trace.process_names.get(process, f"process {process}")

    def _owners_of_tracks(self, processes: list[int]) -> dict[str, int]:
        """The process whose work each track of device work shows, where the file tells: by a rank in its name, by
        numbers that only one process uses, or because there are as many tracks as processes, and no work would then run
        before its launch.
        """
        trace = self._trace
        by_rank = {name: process for process, name in trace.process_names.items() if process in processes}
        tracks: defaultdict[str, list[_DeviceEvent]] = defaultdict(list)
        for each in self._work:
            tracks[str(each.track)].append(each)
        owners: dict[str, int] = {}
        for track, work in tracks.items():
            rank = _RANK.match(track)
            able = [
                process
                for process in processes
                if all(each.correlation is None or (process, each.correlation) in trace.launches for each in work)
            ]
            if rank and f"rank {rank[1]}" in by_rank:
                owners[track] = by_rank[f"rank {rank[1]}"]
            elif len(able) == 1 and any(each.correlation is not None for each in work):
                owners[track] = able[0]
        left = sorted(tracks.keys() - owners.keys(), key=lambda each: (_number(each), each))
        free = sorted(set(processes) - set(owners.values()))
        if len(left) == len(free) > 1 and all(
            self._in_time(process, tracks[track]) for track, process in zip(left, free, strict=True)
        ):
            owners |= dict(zip(left, free, strict=True))
        return owners

    def _in_time(self, process: int, work: list[_DeviceEvent]) -> bool:
        calls = ((each, self._trace.launches.get((process, each.correlation or 0))) for each in work)
        return all(call is None or call.start <= each.operation.start for each, call in calls)

    def _blocks(self, processes: list[int]) -> list[tuple[int, int]]:
        """Where the events of each process begin in the file, if it holds one rank after the other; else nothing."""
        parts = sorted((*self._extent[process], process) for process in processes)
        if any(before[1] > after[0] for before, after in pairwise(parts)):
            return []
        return [(first, process) for first, _, process in parts]


def _spans(each: Any) -> list[tuple[int, int]]:
    return [(item.start, item.end) for item in each]


def _way(name: str) -> tuple[Direction, bool | None]:
    """Direction of a copy, and whether its side on the host is pageable memory (None: the name does not tell)."""
    ends = _COPY.search(name)
    pair = [_ENDS.get(end[0].lower()) for end in ends.groups()] if ends else []
    way: Direction = next((each for each in COPY_NAMES if each == "2".join(map(str, pair))), "other")
    sides = _COPY_SIDES.search(name)
    host = None if sides is None else {"h2d": sides[1], "d2h": sides[2]}.get(way)
    return way, None if host is None else _MEMORY.get(host.lower())


def _arguments(event: dict[str, Any]) -> dict[str, Any]:
    arguments = event.get("args")
    return arguments if isinstance(arguments, dict) else {}


def _times(event: dict[str, Any]) -> tuple[int | None, int | None]:
    """Start and end in ns; None for what is missing, no number, or negative in length."""
    start, length = _nanoseconds(event.get("ts")), _nanoseconds(event.get("dur"))
    return start, None if start is None or length is None or length < 0 else start + length


def _nanoseconds(microseconds: Any) -> int | None:
    """Exact for what Kineto writes: an integer, or text of an integer and up to three decimals."""
    if isinstance(microseconds, int):
        return microseconds * 1000
    if not isinstance(microseconds, str):
        return None
    whole, _, decimals = microseconds.partition(".")
    if len(decimals) <= _DECIMALS and (whole + decimals).isdecimal():
        return int(whole + decimals.ljust(_DECIMALS, "0"))
    try:
        return round(Decimal(microseconds) * 1000)
    except (ArithmeticError, ValueError):
        return None


def _integer(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    try:
        return int(Decimal(value)) if isinstance(value, str) else None
    except (ArithmeticError, ValueError):
        return None


def _number(value: Any) -> int:
    """Process, thread, device and stream numbers. Kineto's own tracks are called by text; they need only differ."""
    found = _integer(value)
    return found if found is not None else -1 - zlib.crc32(str(value).encode())


def _load(path: Path) -> Any:
    """Floats stay text: a time in microseconds since 1970 with three decimals does not fit into a double.

    Names may hold what JSON forbids (bytes that are no UTF-8, control characters): they are the program's, and Kineto
    writes them as they are. NaN and Infinity are read as unknown. A list may lack its last bracket, as the format
    allows.
    """
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP_MAGIC:
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(
            f"{path} is a damaged gzip file: {error}.", hint="Was the program that wrote it killed?"
        ) from error
    text = content.decode(errors="replace").removeprefix("\ufeff")
    try:
        return _parse(text)
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            first, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
            if _is_nsys_row(first):  # one object a line
                return first
        if text.lstrip().startswith("["):
            try:
                return _parse(text.rstrip().rstrip(",") + "]")
            except ValueError:
                pass  # not only the bracket is missing: the first error says where
        raise TraceError(f"{path} is not JSON: {error}.", hint=_why_not_json(text, error)) from error
    except RecursionError as error:
        raise TraceError(f"{path} is JSON nested too deeply to be a trace.", hint=_EXPECTED) from error


def _is_nsys_row(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and not {"ph", "traceEvents"} & document.keys()
        and any(key in ("data", "Type") or key.endswith("Event") for key in document)
    )


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_constant=lambda _: None, strict=False)


_EXPORT_TO_SQLITE = "Export it to SQLite, which is read: nsys export --type sqlite REPORT.nsys-rep"
_BARE_WORD = re.compile(r"[-+]?[A-Za-z][\w./#-]*")


def _why_not_json(text: str, error: ValueError) -> str:
    """The way out, by what stands where reading stopped."""
    if not isinstance(error, json.JSONDecodeError):  # a number of thousands of digits
        return _EXPECTED
    here = text[error.pos : error.pos + 40]
    word = _BARE_WORD.match(here)
    if "escape" in error.msg:
        return (
            f"The backslash in line {error.lineno} is not escaped, as in a Windows path: write it twice (\\\\), or "
            "profile again without with_stack."
        )
    if error.msg == "Extra data":
        return (
            f"A second document begins in line {error.lineno}: did several processes write this file at the same time? "
            "Give the trace of each rank a name of its own."
        )
    if word:
        return f"The word {word[0]} in line {error.lineno} is no value of JSON: write null instead."
    if not text[error.pos :].strip() or "Unterminated string" in error.msg:
        return "A trace that was cut off while it was written cannot be read."
    return f"See line {error.lineno}, column {error.colno}. {_EXPECTED}"


def looks_like_one(head: bytes) -> bool:
    """Whether the first bytes of a file may be a trace of this kind."""
    return head[:2] == _GZIP_MAGIC or head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
