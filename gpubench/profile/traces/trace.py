"""What a profiler saw, in one form for every tool. Readers make it; `summarize` reads it.

Times are integer nanoseconds on the trace's own clock, the same for host and device. Threads are numbered so that two
processes never share a number; a process is named by the number that its threads carry. What a file does not tell is
None, never 0.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gpubench.core.errors import UsageError

STEP = "step"
NSYS_REPORT, NSYS_OLD_REPORT, NSYS_UNIMPORTED, NCU_REPORT = ".nsys-rep", ".qdrep", ".qdstrm", ".ncu-rep"
Key = tuple[int, int]
"""What links a launch with its work: the number of the process, and the correlation number that counts inside it."""
OperationKind = Literal["kernel", "copy", "memset", "graph"]
Direction = Literal["h2d", "d2h", "d2d", "p2p", "h2h", "other"]

COPY_NAMES: dict[Direction, str] = {
    "h2d": "Memcpy HtoD",
    "d2h": "Memcpy DtoH",
    "d2d": "Memcpy DtoD",
    "p2p": "Memcpy PtoP",
    "h2h": "Memcpy HtoH",
    "other": "Memcpy",
}
"""One name per direction, whatever the tool calls it."""


class TraceError(UsageError):
    """A trace that cannot be read: not there, not a trace, damaged, or of a version that this machine cannot export."""


class Range(NamedTuple):
    """A named span on a host thread. `nested` tells push/pop ranges from start/end ones, which belong to no thread's
    stack.

    `payload` is the integer given with it (the index of a step), None without one. A range that was still open when the
    capture ended is `cut_off`, and ends there.
    """

    domain: str
    name: str
    start: int
    end: int
    process: int
    thread: int
    payload: int | None = None
    nested: bool = True
    cut_off: bool = False


CallKind = Literal["kernel", "copy", "graph capture begins", "graph capture ends", "other"]
_CALLS = re.compile(r"(?:cuda|cu|hip)\w*?(?:(Launch(?:Cooperative)?Kernel)|Memcpy)", re.IGNORECASE)


def call_kind(name: str) -> CallKind:
    """What a call of the CUDA or HIP runtime or driver of this name does: launch a kernel, copy, or something that need
    not leave work on the device. Graph launches count as `other`: tools trace them in several ways.
    """
    if "StreamBeginCapture" in name:
        return "graph capture begins"
    if "StreamEndCapture" in name:
        return "graph capture ends"
    found = _CALLS.match(name)
    return "other" if found is None else "kernel" if found[1] else "copy"


class LaunchCall(NamedTuple):
    """A call of the CUDA runtime or driver on a host thread."""

    start: int
    end: int
    process: int
    thread: int
    kind: CallKind = "other"


class Operation(NamedTuple):
    """One piece of device work. `device` is its key in `Trace.devices`, `launch` that in `Trace.launches`, None if the
    tool does not know it, like `process`.

    `bytes`, `direction` and `pageable` are those of copies (None: unknown); a graph is a whole CUDA graph traced as
    one. `tensor_cores` tells whether a kernel used them (None: not counted).
    """

    kind: OperationKind
    name: str
    start: int
    end: int
    device: int
    stream: int
    process: int | None
    launch: Key | None = None
    bytes: int | None = None
    direction: Direction | None = None
    pageable: bool | None = None
    tensor_cores: bool | None = None


class TracedDevice(NamedTuple):
    """`number` is what its owner calls it; `owner` (`rank 1`, `machine 2`) is None if only one numbers devices."""

    number: int
    name: str | None = None
    owner: str | None = None


@dataclass
class Trace:
    """One file. `main_threads` by process, if the tool tells; `process_names` of processes whose id does not tell all.

    `cuda_seen` says that the program called CUDA at all: a trace with calls and without device work was taken without
    the permission, or by a tool that does not know the driver. `capture_ns` is how long the tool says it collected.
    `unread` counts the rows that were left out, by what is wrong with them; `known_rows` those that are understood and
    not needed. `messages` is what the tool itself warned of. Without `timeline` only the lengths of things are true,
    not when they were: the tool ran them one by one.
    """

    tool: Literal["nsys", "ncu", "torch"]
    tool_version: str | None = None
    source: str = ""
    ranges: list[Range] = field(default_factory=list)
    launches: dict[Key, LaunchCall] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    devices: dict[int, TracedDevice] = field(default_factory=dict)
    main_threads: dict[int, int] = field(default_factory=dict)
    process_names: dict[int, str] = field(default_factory=dict)
    cuda_seen: bool = False
    timeline: bool = True
    capture_ns: int | None = None
    unread: Counter[str] = field(default_factory=Counter)
    known_rows: int = 0
    messages: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Nothing was captured, neither on the host nor on a device."""
        return not (self.ranges or self.launches or self.operations or self.known_rows)

    @property
    def lengths_unknown(self) -> bool:
        """Some kernels ran for a time that the trace does not tell, so sums over all of them are not known."""
        return any(what.startswith(_PLURALS["kernel"]) for what in self.unread)


_FAR_NS = 3_600_000_000_000
_SLACK_NS = 1_000_000


def leave_out_impossible(trace: Trace) -> None:
    """Moves to `unread` what cannot have happened: work and ranges longer than the capture, or an hour away from it.
    Work that begins before its launch is mentioned: the clocks of host and device differ.

    Tools write such rows where the hardware gave no time. The capture is as long as the tool says, else from the first
    to the last event of the host, where there are ranges.
    """
    if not trace.timeline:
        return
    host = [(each.start, each.end) for each in trace.ranges]
    host += [(each.start, each.end) for each in trace.launches.values()]
    starts = sorted(start for start, _ in host) or sorted(each.start for each in trace.operations)
    if not starts:
        return
    middle = starts[len(starts) // 2]
    near = [(start, end) for start, end in host if abs(start - middle) < _FAR_NS] or [(middle, middle)]
    first, last = min(near)[0], max(near)[0]
    longest = trace.capture_ns
    work_limit = longest
    if longest is None and trace.ranges:
        work_limit = max(end for _, end in near) - first

    def possible(each: Range | Operation, limit: int | None) -> bool:
        if each.start < first - _FAR_NS or each.start > last + _FAR_NS:
            return False
        return limit is None or each.end - each.start <= limit + limit // 100 + _SLACK_NS

    operations = [each for each in trace.operations if possible(each, work_limit)]
    ranges = [each for each in trace.ranges if possible(each, longest)]
    kinds = Counter(each.kind for each in trace.operations) - Counter(each.kind for each in operations)
    for kind, count in kinds.items():
        trace.unread[f"{_PLURALS[kind]} longer than the capture or outside of it"] += count
    if len(ranges) < len(trace.ranges):
        trace.unread["ranges longer than the capture or outside of it"] += len(trace.ranges) - len(ranges)
    trace.operations, trace.ranges = operations, ranges
    early = [
        call.start - each.start
        for each in operations
        if each.launch is not None and (call := trace.launches[each.launch]).start > each.start
    ]
    if early:
        trace.messages.append(
            f"GPU work begins up to {max(early) / 1e3:.3g} us before its launch ({len(early)} of {len(operations)} "
            "pieces): the clocks of host and GPU differ, and reasons of idle time are wrong by as much."
        )


_PLURALS: dict[OperationKind, str] = {"kernel": "kernels", "copy": "copies", "memset": "memsets", "graph": "graphs"}


def without_times(kind: OperationKind) -> str:
    """How work whose times the tool does not know is counted in `unread`."""
    return f"{_PLURALS[kind]} without times"


def lost_launches(trace: Trace) -> list[LaunchCall]:
    """Calls whose work is not in the trace, by start; none if work that no launch is known of could be theirs.

    Calls that only record a CUDA graph leave no work, and a kind of work that the trace lacks altogether was not
    collected.
    """
    linked = {each.launch for each in trace.operations}
    unlinked = sum(each.launch is None for each in trace.operations)
    kinds = {each.kind for each in trace.operations}
    recording = _graph_captures(trace.launches.values())
    lost = sorted(
        call
        for key, call in trace.launches.items()
        if call.kind in kinds
        and key not in linked
        and not any(start <= call.start < end for start, end in recording.get(call.thread, ()))
    )
    return lost if len(lost) > unlinked else []


def _graph_captures(calls: Iterable[LaunchCall]) -> dict[int, list[tuple[int, int]]]:
    """Per thread, when its calls were recorded into a CUDA graph and not carried out."""
    found: dict[int, list[tuple[int, int]]] = {}
    began: dict[int, int] = {}
    for call in sorted(each for each in calls if each.kind.startswith("graph capture")):
        if call.kind == "graph capture begins":
            began[call.thread] = call.start
        elif call.thread in began:
            found.setdefault(call.thread, []).append((began.pop(call.thread), call.start))
    return found


def listed(counts: Counter[str]) -> str:
    """`12 kernels without times, 3 events without a category`, most first."""
    return ", ".join(
        f"{count} {_ONE.sub(lambda plural: 'y' if plural[0] == 'ies' else '', what, 1) if count == 1 else what}"
        for what, count in counts.most_common()
    )


_ONE = re.compile(r"(ies|s)\b")
