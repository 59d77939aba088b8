"""Reads the Chrome trace that torch.profiler (Kineto) writes, plain or gzip."""

import gzip
import json
import re
import zlib
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

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
from gpubench.protocol.profile_job import DOMAIN

PREFIX = f"{DOMAIN}/"
"""What our own ranges begin with in a torch trace, which has no domains."""

_DECIMALS = 3
_GZIP_MAGIC = b"\x1f\x8b"
_LAUNCHES = frozenset({"cuda_runtime", "cuda_driver"})
_DEVICE_WORK: dict[str, OperationKind] = {"kernel": "kernel", "gpu_memcpy": "copy", "gpu_memset": "memset"}
_COPY = re.compile(r"Memcpy (\w+)to(\w+)", re.IGNORECASE)
_COPY_SIDES = re.compile(r"\(\s*([\w ]+?)\s*->\s*([\w ]+?)\s*\)")
_ENDS = {"h": "h", "d": "d", "a": "d", "p": "p"}
"""Host, device, array (which lies on a device) and peer, by the first letter in the name of a copy."""


def read(path: Path) -> Trace:
    """The trace in a file of torch.profiler. TraceError if it is damaged, or JSON of another kind."""
    document = _load(path)
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise TraceError(
            f"{path} is JSON, but no trace: it has no list `traceEvents`.",
            hint="Expected a file made by torch.profiler's export_chrome_trace.",
        )
    head = document if isinstance(document, dict) else {}
    trace = Trace(tool="torch", source=str(path))
    try:
        devices = head.get("deviceProperties")
        for device in devices if isinstance(devices, list) else ():
            if isinstance(device, dict) and "id" in device and "name" in device:
                trace.device_names[int(device["id"])] = str(device["name"])
        on_device = [
            event for event in events if isinstance(event, dict) and event.get("ph") == "X" and _read_host(event, trace)
        ]
        counts = Counter(launch.process for launch in trace.launches.values())
        seen = [*(process for process, _ in counts.most_common()), *(each.process for each in trace.ranges)]
        trace.main_threads = {process: process for process in seen}
        trace.operations = [_device_work(event, trace) for event in on_device]
    except (ArithmeticError, ValueError, TypeError) as error:
        raise TraceError(
            f"{path} holds an event that cannot be read: {type(error).__name__}: {error}.",
            hint="Expected a file made by torch.profiler's export_chrome_trace.",
        ) from error
    return trace


def _load(path: Path) -> Any:
    """Floats stay text: a time in microseconds since 1970 with three decimals does not fit into a double.

    Names may hold what JSON forbids (bytes that are no UTF-8, control characters): they are the program's, and Kineto
    writes them as they are.
    """
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP_MAGIC:
            content = gzip.decompress(content)
        return json.loads(content.decode(errors="replace"), parse_float=str, strict=False)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(
            f"{path} is a damaged gzip file: {error}.", hint="Was the program that wrote it killed?"
        ) from error
    except ValueError as error:
        raise TraceError(
            f"{path} is not JSON: {error}.", hint="A trace that was cut off while it was written cannot be read."
        ) from error


def _read_host(event: dict[str, Any], trace: Trace) -> bool:
    """Notes an event of a host thread. True for one of a device, which must wait until all launches are known."""
    category = str(event.get("cat", "")).lower()
    if category == "user_annotation":
        start, end = _times(event)
        text = str(event.get("name", ""))
        domain, name = (DOMAIN if text.startswith(PREFIX) else ""), text.removeprefix(PREFIX)
        process, thread = _number(event.get("pid")), _number(event.get("tid"))
        trace.ranges.append(Range(domain, name, start, end, process, thread))
    elif category in _LAUNCHES:
        trace.cuda_seen = True
        correlation = _integer(_arguments(event).get("correlation"))
        if correlation is not None:
            start, end = _times(event)
            known = trace.launches.get(correlation)
            if known is None or start < known.start:  # a call within a call: the outer one began it
                process, thread = _number(event.get("pid")), _number(event.get("tid"))
                trace.launches[correlation] = LaunchCall(start, end, process, thread)
    return category in _DEVICE_WORK


def _device_work(event: dict[str, Any], trace: Trace) -> Operation:
    """The process is that of the launch; work whose launch is not in the trace goes to the one that launched most."""
    kind = _DEVICE_WORK[str(event.get("cat")).lower()]
    name = str(event.get("name", ""))
    direction: Direction | None = None
    pageable: bool | None = None
    if kind == "copy":
        ends = _COPY.search(name)
        pair = [_ENDS.get(end[0].lower()) for end in ends.groups()] if ends else []
        way: Direction = next((each for each in COPY_NAMES if each == "2".join(map(str, pair))), "other")
        sides = _COPY_SIDES.search(name)
        host = None if sides is None else {"h2d": sides[1], "d2h": sides[2]}.get(way)
        pageable = None if host is None or "unknown" in host.lower() else "pageable" in host.lower()
        direction, name = way, COPY_NAMES[way]
    elif kind == "memset":
        name = "Memset"
    arguments = _arguments(event)
    correlation = _integer(arguments.get("correlation"))
    launch = None if correlation is None else trace.launches.get(correlation)
    start, end = _times(event)
    return Operation(
        kind,
        name,
        start,
        end,
        _number(arguments.get("device", event.get("pid"))),
        _number(arguments.get("stream", event.get("tid"))),
        next(iter(trace.main_threads), 0) if launch is None else launch.process,
        None if launch is None else correlation,
        _integer(arguments.get("bytes")),
        direction,
        pageable,
    )


def _arguments(event: dict[str, Any]) -> dict[str, Any]:
    arguments = event.get("args")
    return arguments if isinstance(arguments, dict) else {}


def _times(event: dict[str, Any]) -> tuple[int, int]:
    start = _nanoseconds(event.get("ts", 0))
    return start, start + max(0, _nanoseconds(event.get("dur", 0)))


def _nanoseconds(microseconds: Any) -> int:
    """Exact for what Kineto writes: an integer, or text of an integer and up to three decimals."""
    if isinstance(microseconds, int):
        return microseconds * 1000
    whole, _, decimals = str(microseconds).partition(".")
    if len(decimals) <= _DECIMALS and (whole + decimals).isdigit():
        return int(whole + decimals.ljust(_DECIMALS, "0"))
    return round(Decimal(str(microseconds)) * 1000)


def _integer(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        try:
            return int(Decimal(value))
        except ArithmeticError:
            return None
    return None


def _number(value: Any) -> int:
    """Process, thread, device and stream numbers. Kineto's own tracks are called by text; they need only differ."""
    found = _integer(value)
    return found if found is not None else -1 - zlib.crc32(str(value).encode())


def looks_like_one(head: bytes) -> bool:
    """Whether the first bytes of a file may be a trace of this kind."""
    return head[:2] == _GZIP_MAGIC or head.lstrip()[:1] in (b"{", b"[")
