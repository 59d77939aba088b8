"""Reads the Chrome trace that torch.profiler (Kineto) writes, plain or gzip; also that of torch 1.8 to 1.11."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpubench.profile.traces.chrome_json import (
    EXPECTED,
    EXPORT_TO_SQLITE,
    integer,
    is_nsys_row,
    load,
    nanoseconds,
    number,
)
from gpubench.profile.traces.rank_owners import DrawnWork, HostProcesses, link
from gpubench.profile.traces.trace import (
    COPY_NAMES,
    UNNAMED,
    UNNUMBERED,
    Direction,
    HostOperator,
    Key,
    LaunchCall,
    Operation,
    OperationKind,
    Range,
    TensorFact,
    Trace,
    TraceError,
    call_kind,
    without_times,
)
from gpubench.protocol.profile_job import DOMAIN

PREFIX = f"{DOMAIN}/"
"""Prefix of our own ranges in a torch trace, which has no domains."""

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
_OF_THE_HOST = ("cpu_op", "python_function", "operator")
_OLD_OPERATOR = "operator"
_OPERATOR_NAME = re.compile(r"::|Backward\d*$")
_WHOLE, _HALVES = "X", ("B", "E")
_ASYNCHRONOUS = frozenset("bneSTpF")
_NO_DURATION = frozenset("iIMsftCPRNODvVac()")
_COPY = re.compile(r"Memcpy (\w+)to(\w+)", re.IGNORECASE)
_COPY_SIDES = re.compile(r"\(\s*([\w ]+?)\s*->\s*([\w ]+?)\s*\)")
_MEMORY = {"pageable": True, "pinned": False}
_ENDS = {"h": "h", "d": "d", "a": "d", "p": "p"}
"""Host, device, array (in device memory) and peer, by the first letter in the name of a copy."""


def read(path: Path, *, operators: bool = False) -> Trace:
    """Reads a trace of torch.profiler; `operators` keeps torch's operators. TraceError if damaged, or other JSON."""
    document = load(path)
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if is_nsys_row(document if isinstance(document, dict) else next(iter(events or ()), None)):
        raise TraceError(f"{path} is a report of Nsight Systems that was exported to JSON.", hint=EXPORT_TO_SQLITE)
    if not isinstance(events, list):
        raise TraceError(f"{path} is JSON, but no trace: it has no list `traceEvents`.", hint=EXPECTED)
    head = document if isinstance(document, dict) else {}
    return _KinetoReader(str(path), head, operators=operators).read(events)


class _KinetoReader:
    def __init__(self, source: str, head: dict[str, Any], *, operators: bool) -> None:
        self._trace = Trace(tool="torch", source=source)
        self._operators = operators
        self._names: dict[int, str] = {}
        self._work: list[DrawnWork] = []
        self._repeated: set[Key] = set()
        self._hosts = HostProcesses(self._trace)
        for level in ("ERROR", "WARNING"):  # Kineto's own log
            logged = head.get(level)
            self._trace.messages += map(str, logged if isinstance(logged, list) else ())
        devices = head.get("deviceProperties", head.get("computeProperties"))  # its name until torch 1.9
        for device in devices if isinstance(devices, list) else ():
            if isinstance(device, dict) and (key := integer(device.get("id"))) is not None and "name" in device:
                self._names[key] = str(device["name"])

    def read(self, events: list[Any]) -> Trace:
        trace = self._trace
        halves: list[tuple[int, dict[str, Any]]] = []
        for index, event in enumerate(events):
            phase = event.get("ph") if isinstance(event, dict) else None
            if phase == _WHOLE:
                self._read_event(index, event, _category(event))
            elif phase in _HALVES:
                halves.append((index, event))
            elif isinstance(phase, str) and phase in _ASYNCHRONOUS:
                trace.unread[_counted("asynchronous events", event)] += 1
            elif not isinstance(phase, str) or phase not in _NO_DURATION:
                trace.unread["entries that are no trace events"] += 1
        for index, event in self._joined(halves):
            self._read_event(index, event, _category(event))
        last = max((end for each in (trace.ranges, trace.launches.values()) for _, end in _spans(each)), default=0)
        last = max([last, *(each.operation.end for each in self._work)])
        trace.ranges = [each._replace(end=max(each.start, last)) if each.cut_off else each for each in trace.ranges]
        for key in self._repeated:
            del trace.launches[key]
        for process in sorted({process for process, _ in self._repeated}):
            trace.messages.append(
                f"Calls of {self._hosts.name(process)} use the same correlation numbers, as if several processes with "
                "this id were in the file; the figures of a GPU may cover several."
            )
        self._hosts.leave_out_nameless()
        ids = {process: trace.process_ids.get(process, process) for process in self._hosts.extent}
        trace.main_threads = {process: found for process, found in ids.items() if found is not None}
        link(trace, self._work, self._hosts, self._names)
        return trace

    def _joined(self, halves: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Events in two halves (B and E) as whole ones: on each thread, an end belongs to the latest beginning that is
        still open. A beginning that nothing ends has no length.
        """
        timed = [(start, *each) for each in halves if (start := nanoseconds(each[1].get("ts"))) is not None]
        if len(timed) < len(halves):
            self._trace.unread["halves of events (B and E) without times"] += len(halves) - len(timed)
        opened: defaultdict[tuple[str, str], list[tuple[int, int, dict[str, Any]]]] = defaultdict(list)
        for moment, index, event in sorted(timed, key=lambda each: each[:2]):
            thread = opened[str(event.get("pid")), str(event.get("tid"))]
            if event["ph"] == "B":
                thread.append((moment, index, event))
            elif thread:
                start, begun, first = thread.pop()
                length = moment - start
                arguments = {**_arguments(first), **_arguments(event)}
                yield begun, {**first, "dur": f"{length // 1000}.{length % 1000:03d}", "args": arguments}
            else:
                self._trace.unread["ends of events without a beginning"] += 1
        for thread in opened.values():
            yield from ((index, {**event, "dur": None}) for _, index, event in thread)

    def _read_event(self, index: int, event: dict[str, Any], category: str) -> None:
        trace = self._trace
        name = str(event.get("name") or "")
        kind = _DEVICE_WORK.get(category)
        if category == "user_annotation" or (category == _OLD_OPERATOR and not _OPERATOR_NAME.search(name)):
            self._read_range(index, event, name)
        elif kind is not None:
            self._read_work(index, event, name, kind)
        elif _LAUNCHES.fullmatch(category):
            self._read_launch(index, event, name)
        elif _NOT_NEEDED.fullmatch(category):
            trace.known_rows += 1
            if category in _OF_THE_HOST:
                process = self._hosts.see(index, event.get("pid"))
                if self._operators and category != "python_function":
                    self._read_operator(event, name, process)
            elif category == "trace":
                start, end = _times(event)
                if start is not None and end is not None:
                    trace.capture_ns = (trace.capture_ns or 0) + end - start
        else:
            trace.unread[_counted("events", event)] += 1

    def _read_range(self, index: int, event: dict[str, Any], text: str) -> None:
        start, end = _times(event)
        if start is None:
            self._trace.unread["ranges without times"] += 1
            return
        if not text:
            self._trace.unread["ranges without a name"] += 1
            return
        domain, name = (DOMAIN if text.startswith(PREFIX) else ""), text.removeprefix(PREFIX)
        process = self._hosts.see(index, event.get("pid"))
        thread, stop = number(event.get("tid")), start if end is None else end
        self._trace.ranges.append(Range(domain, name, start, stop, process, thread, cut_off=end is None))

    def _read_operator(self, event: dict[str, Any], name: str, process: int) -> None:
        start, end = _times(event)
        if start is not None and end is not None and name:
            thread, inputs = number(event.get("tid")), tensor_facts(_arguments(event))
            self._trace.operators.append(HostOperator(name, start, end, process, thread, inputs))

    def _read_launch(self, index: int, event: dict[str, Any], name: str) -> None:
        """Of a call within a call the outer one counts: it began the work."""
        trace = self._trace
        trace.cuda_seen = True
        process = self._hosts.see(index, event.get("pid"))
        if not name:
            trace.unread["calls without a name"] += 1
        correlation = integer(_arguments(event).get("correlation"))
        if not correlation:
            return
        start, end = _times(event)
        if start is None:
            trace.unread["calls without times"] += 1
            return
        call = LaunchCall(start, start if end is None else end, process, number(event.get("tid")), call_kind(name))
        known = trace.launches.setdefault((process, correlation), call)
        if known is not call:
            outer, inner = sorted((call, known), key=lambda each: (each.start, -each.end))
            if inner.end > outer.end:
                self._repeated.add((process, correlation))
                trace.unread["calls whose correlation number is used twice in their process"] += 1
            trace.launches[process, correlation] = outer

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
        stream = arguments.get("stream", event.get("tid"))
        size = integer(arguments.get("bytes"))
        operation = Operation(
            kind,
            name or UNNAMED,
            start,
            end,
            (0, UNNUMBERED),
            None if stream is None else number(stream),
            None,
            None,
            None if size is None or size < 0 else size,
            direction,
            pageable,
        )
        correlation = integer(arguments.get("correlation")) or None
        device = arguments.get("device", ...)
        self._work.append(DrawnWork.at(index, event.get("pid"), correlation, device, operation))


def tensor_facts(arguments: dict[str, Any]) -> tuple[TensorFact, ...]:
    """The tensors among an operator's inputs, from what `record_shapes` adds to its event; none without it."""
    listed = (arguments.get(name) for name in ("Input type", "Input Dims", "Input Strides"))
    types, shapes, strides = (each if isinstance(each, list) else [] for each in listed)
    return tuple(
        TensorFact(str(kind), tuple(shape), _layout(shape, stride))
        for kind, shape, stride in zip(types, shapes, strides, strict=False)
        if kind and shape and all(isinstance(size, int) for size in shape) and not str(kind).startswith("Scalar")
    )


def _layout(shape: list[int], strides: list[int]) -> str:
    """`contiguous`, `channels-last` (the second dimension is innermost), or `strided`."""

    def dense(order: list[int]) -> bool:
        step = 1
        for at in order:
            if shape[at] != 1 and strides[at] != step:
                return False
            step *= shape[at]
        return True

    if len(shape) != len(strides):
        return "unknown"
    last_first = list(range(len(shape)))[::-1]
    if dense(last_first):
        return "contiguous"
    return "channels-last" if len(shape) in (4, 5) and dense([1, *last_first[:-2], 0]) else "strided"


def _category(event: dict[str, Any]) -> str:
    return str(event.get("cat") or "").lower()


def _counted(what: str, event: dict[str, Any]) -> str:
    return f"{what} of category `{event['cat']}`" if _category(event) else f"{what} without a category"


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
    start, length = nanoseconds(event.get("ts")), nanoseconds(event.get("dur"))
    return start, None if start is None or length is None or length < 0 else start + length
