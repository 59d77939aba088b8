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
    DOMAIN,
    Direction,
    LaunchCall,
    Operation,
    OperationKind,
    Range,
    Trace,
    TraceError,
)

PREFIX = f"{DOMAIN}/"
"""What our own ranges begin with in a torch trace, which has no domains."""

_DECIMALS = 3
_GZIP_MAGIC = b"\x1f\x8b"
_LAUNCHES = frozenset({"cuda_runtime", "cuda_driver"})
_DEVICE_WORK: dict[str, OperationKind] = {"kernel": "kernel", "gpu_memcpy": "copy", "gpu_memset": "memset"}
_COPY = re.compile(r"Memcpy (\w+)to(\w+)", re.IGNORECASE)
_COPY_SIDES = re.compile(r"\(\s*([\w ]+?)\s*->\s*([\w ]+?)\s*\)")
_COPY_DIRECTIONS: dict[tuple[str, str], Direction] = {
    ("h", "d"): "h2d",
    ("h", "a"): "h2d",
    ("d", "h"): "d2h",
    ("a", "h"): "d2h",
    ("h", "h"): "h2h",
    ("d", "d"): "d2d",
    ("d", "a"): "d2d",
    ("a", "d"): "d2d",
    ("a", "a"): "d2d",
    ("p", "p"): "p2p",
}


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
    try:
        return _trace(head, events, path)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise TraceError(
            f"{path} holds an event that cannot be read: {type(error).__name__}: {error}.",
            hint="Expected a file made by torch.profiler's export_chrome_trace.",
        ) from error


def _trace(head: dict[str, Any], events: list[Any], path: Path) -> Trace:
    trace = Trace(tool="torch", source=str(path))
    trace.device_names = _device_names(head)
    on_device = [
        event for event in events if isinstance(event, dict) and event.get("ph") == "X" and _read_host(event, trace)
    ]
    counts = Counter(launch.process for launch in trace.launches.values())
    seen = [*(process for process, _ in counts.most_common()), *(each.process for each in trace.ranges)]
    trace.main_threads = {process: process for process in dict.fromkeys(seen)}
    trace.operations = [_device_work(event, trace) for event in on_device]
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


def _device_names(head: dict[str, Any]) -> dict[int, str]:
    devices = head.get("deviceProperties")
    if not isinstance(devices, list):
        return {}
    return {
        int(device["id"]): str(device["name"])
        for device in devices
        if isinstance(device, dict) and "id" in device and "name" in device
    }


def _read_host(event: dict[str, Any], trace: Trace) -> bool:
    """Notes an event of a host thread; whether it is one of a device instead, which must wait until all launches are
    known.
    """
    category = str(event.get("cat", "")).lower()
    if category == "user_annotation":
        trace.ranges.append(_range(event))
    elif category in _LAUNCHES:
        trace.cuda_seen = True
        correlation = _integer(_arguments(event).get("correlation"))
        if correlation is not None:
            start, end = _times(event)
            known = trace.launches.get(correlation)
            if known is None or start < known.start:  # a call within a call: the outer one began it
                trace.launches[correlation] = LaunchCall(
                    start, end, _number(event.get("pid")), _number(event.get("tid"))
                )
    return category in _DEVICE_WORK


def _range(event: dict[str, Any]) -> Range:
    name = str(event.get("name", ""))
    start, end = _times(event)
    ours = name.startswith(PREFIX)
    return Range(
        DOMAIN if ours else "",
        name.removeprefix(PREFIX),
        start,
        end,
        _number(event.get("pid")),
        _number(event.get("tid")),
    )


def _device_work(event: dict[str, Any], trace: Trace) -> Operation:
    """The process is that of the launch; work whose launch is not in the trace goes to the one that launched most."""
    kind = _DEVICE_WORK[str(event.get("cat")).lower()]
    name = str(event.get("name", ""))
    direction: Direction | None = None
    pageable: bool | None = None
    if kind == "copy":
        direction = _direction(name)
        pageable = _pageable(name, direction)
        name = COPY_NAMES[direction]
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


def _pageable(name: str, direction: Direction) -> bool | None:
    """Whether the host's end of a copy is pageable memory; None where its name does not say."""
    sides = _COPY_SIDES.search(name)
    host = None if sides is None else {"h2d": sides[1], "d2h": sides[2]}.get(direction)
    return None if host is None or "unknown" in host.lower() else "pageable" in host.lower()


def _direction(name: str) -> Direction:
    match = _COPY.search(name)
    if match is None:
        return "other"
    return _COPY_DIRECTIONS.get((match[1][0].lower(), match[2][0].lower()), "other")


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
