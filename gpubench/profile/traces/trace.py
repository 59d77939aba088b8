"""A profiler's trace in one form for all tools, made by the readers.

Times are integer nanoseconds on the trace's own clock, the same for host and device. Thread numbers are unique over all
processes; a process has the number that its threads refer to. What a file does not tell is None, never 0.
"""

import codecs
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from gpubench.core.errors import UsageError

STEP = "step"
NSYS_REPORT, NSYS_OLD_REPORT, NSYS_UNIMPORTED, NCU_REPORT = ".nsys-rep", ".qdrep", ".qdstrm", ".ncu-rep"
Key = tuple[int, int]
"""Links a launch with its work: number of the process, and correlation number within the process."""
DeviceKey = tuple[int, int]
"""Process that numbers the device (0: all share one numbering), and its number, `UNNUMBERED` if the file has none."""
UNNUMBERED = -1
MOST_NS = 1 << 63
"""Numbers of this size, positive or negative, are not times."""
MOST_DEVICES = 1 << 31
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


UNNAMED = "(unnamed kernel)"


class TraceError(UsageError):
    """A trace that cannot be read: missing, not a trace, damaged, or of a version that this machine cannot export."""


class Range(NamedTuple):
    """A named span on a host thread. `nested`: a push/pop range, part of the thread's stack; start/end ranges are not.

    `payload`: the integer given with it, such as the index of a step. `cut_off`: still open when the capture ended,
    which is then its end.
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


class TensorFact(NamedTuple):
    """An input of an operator: torch's name of its dtype, shape and memory layout."""

    dtype: str
    shape: tuple[int, ...]
    layout: str


class HostOperator(NamedTuple):
    """An operator of torch on a host thread. `inputs` is empty unless the profiler recorded shapes."""

    name: str
    start: int
    end: int
    process: int
    thread: int
    inputs: tuple[TensorFact, ...] = ()


CallKind = Literal["kernel", "graph", "copy", "graph capture begins", "graph capture ends", "other", "unnamed"]
_CALLS = re.compile(
    r"(?:cuda|cu|hip)\w*?(?:(?P<graph>GraphLaunch)|(?P<kernel>Launch(?:Cooperative)?Kernel|Launch(?:Grid|_|$))"
    r"|(?P<copy>Memcpy))",
    re.IGNORECASE,
)
LAUNCHES: tuple[CallKind, ...] = ("kernel", "graph", "copy")
"""Calls that put work on the device. Small memsets do not."""


def call_kind(name: str) -> CallKind:
    """What a call of the CUDA or HIP runtime or driver does, by its name: one of `LAUNCHES`, or something that may
    leave no work on the device.
    """
    if not name:
        return "unnamed"
    if "StreamBeginCapture" in name:
        return "graph capture begins"
    if "StreamEndCapture" in name:
        return "graph capture ends"
    match = _CALLS.match(name)
    return "other" if match is None else cast(CallKind, match.lastgroup)


class LaunchCall(NamedTuple):
    """A call of the CUDA runtime or driver on a host thread."""

    start: int
    end: int
    process: int
    thread: int
    kind: CallKind = "other"


class Operation(NamedTuple):
    """One piece of device work. `device` and `launch` are keys of `Trace.devices` and `Trace.launches`. `launch`,
    `process` and `stream` are None if unknown.

    `bytes`, `direction` and `pageable` describe copies (None: unknown). A `graph` is a whole CUDA graph traced as one
    piece. `correlation` is the tool's number, also if its launch is missing. `tensor_cores`: whether a kernel used them
    (None: not counted).
    """

    kind: OperationKind
    name: str
    start: int
    end: int
    device: DeviceKey
    stream: int | None
    process: int | None
    launch: Key | None = None
    bytes: int | None = None
    direction: Direction | None = None
    pageable: bool | None = None
    tensor_cores: bool | None = None
    correlation: int | None = None


class TracedDevice(NamedTuple):
    """`number` as its owner counts, None if the file has none; `owner` (`rank 1`, `machine 2`) is None if only one
    numbers devices.
    """

    number: int | None
    name: str | None = None
    owner: str | None = None


@dataclass
class Trace:
    """One file. `operators` is empty unless asked for. `main_threads` by process, if known; `process_names` of
    processes that their id does not identify; `process_ids` of processes whose number is not their id (None: unknown).

    `cuda_seen`: the program called CUDA. Calls without any device work mean that the tool lacked the permission, or
    does not know the driver. `capture_ns`: length of the capture as the tool says. `unread` counts rows left out, by
    reason; `known_rows` those that were understood and are not needed. `messages` are the tool's own warnings. Without
    `timeline`, durations are true but points in time are not: the tool ran kernels one by one.
    """

    tool: Literal["nsys", "ncu", "torch"]
    tool_version: str | None = None
    source: str = ""
    ranges: list[Range] = field(default_factory=list)
    operators: list[HostOperator] = field(default_factory=list)
    launches: dict[Key, LaunchCall] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    devices: dict[DeviceKey, TracedDevice] = field(default_factory=dict)
    main_threads: dict[int, int] = field(default_factory=dict)
    process_names: dict[int, str] = field(default_factory=dict)
    process_ids: dict[int, int | None] = field(default_factory=dict)
    cuda_seen: bool = False
    timeline: bool = True
    capture_ns: int | None = None
    unread: Counter[str] = field(default_factory=Counter)
    known_rows: int = 0
    messages: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing was captured, neither on the host nor on a device."""
        return not (self.ranges or self.launches or self.operations or self.known_rows)

    @property
    def lengths_unknown(self) -> bool:
        """Whether some kernels have no duration, so that sums over all kernels are unknown."""
        return any(what.startswith(PLURALS["kernel"]) and not what.endswith(TWICE) for what in self.unread)


PLURALS: dict[OperationKind, str] = {"kernel": "kernels", "copy": "copies", "memset": "memsets", "graph": "graphs"}


TWICE = "that are in the file twice"
"""The reason in `unread` for repeated rows; dropping them loses no work."""


def without_times(kind: OperationKind) -> str:
    """The reason in `unread` for work without times."""
    return f"{PLURALS[kind]} without times"


def decoded(content: bytes) -> str:
    """Text in UTF-8, or UTF-16 with a byte order mark, as PowerShell redirects output; invalid bytes are replaced."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8", errors="replace").removeprefix("\ufeff")


def listed(counts: Counter[str]) -> str:
    """`12 kernels without times, 3 events without a category`, most first."""
    return ", ".join(
        f"{count} {_ONE.sub(lambda plural: 'y' if plural[0] == 'ies' else '', what, 1) if count == 1 else what}"
        for what, count in counts.most_common()
    )


_ONE = re.compile(r"(ies|s)\b")
