"""What a profiler saw, in one form for every tool. Readers make it; `summarize` reads it.

Times are integer nanoseconds on the trace's own clock, the same for host and device. Threads are numbered so that two
processes never share a number; a process is named by the number that its threads carry. What a file does not tell is
None, never 0.
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
"""What links a launch with its work: the number of the process, and the correlation number that counts inside it."""
DeviceKey = tuple[int, int]
"""Who numbers the device (0: all processes alike), and its number, `UNNUMBERED` in a file that numbers none."""
UNNUMBERED = -1
MOST_NS = 1 << 63
"""Times of this size are no times, in either direction."""
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


class TensorFact(NamedTuple):
    """A tensor that an operator was given: torch's name of its type, its shape, and how it lies in memory."""

    dtype: str
    shape: tuple[int, ...]
    layout: str


class HostOperator(NamedTuple):
    """An operator of torch on a host thread. `inputs` only where the profiler recorded shapes."""

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
"""Calls that leave work on the device. Small memsets leave none."""


def call_kind(name: str) -> CallKind:
    """What a call of the CUDA or HIP runtime or driver of this name does: one of `LAUNCHES`, or something that need not
    leave work on the device. Nothing is known of a call without a name.
    """
    if not name:
        return "unnamed"
    if "StreamBeginCapture" in name:
        return "graph capture begins"
    if "StreamEndCapture" in name:
        return "graph capture ends"
    found = _CALLS.match(name)
    return "other" if found is None else cast(CallKind, found.lastgroup)


class LaunchCall(NamedTuple):
    """A call of the CUDA runtime or driver on a host thread."""

    start: int
    end: int
    process: int
    thread: int
    kind: CallKind = "other"


class Operation(NamedTuple):
    """One piece of device work. `device` is its key in `Trace.devices`, `launch` that in `Trace.launches`, None if the
    tool does not know it, like `process` and `stream`.

    `bytes`, `direction` and `pageable` are those of copies (None: unknown); a graph is a whole CUDA graph traced as
    one. `correlation` is the number that the tool gave it, whether its launch is in the trace or not. `tensor_cores`
    tells whether a kernel used them (None: not counted).
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
    """`number` is what its owner calls it, None in a file that numbers none; `owner` (`rank 1`, `machine 2`) is None if
    only one numbers devices.
    """

    number: int | None
    name: str | None = None
    owner: str | None = None


@dataclass
class Trace:
    """One file. `operators` only if they were asked for. `main_threads` by process, if the tool tells; `process_names`
    of processes whose id does not tell all; `process_ids` of those whose number does not hold the id (None: the file
    does not tell it).

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
        """Nothing was captured, neither on the host nor on a device."""
        return not (self.ranges or self.launches or self.operations or self.known_rows)

    @property
    def lengths_unknown(self) -> bool:
        """Some kernels ran for a time that the trace does not tell, so sums over all of them are not known."""
        return any(what.startswith(PLURALS["kernel"]) and not what.endswith(TWICE) for what in self.unread)


PLURALS: dict[OperationKind, str] = {"kernel": "kernels", "copy": "copies", "memset": "memsets", "graph": "graphs"}


TWICE = "that are in the file twice"
"""How repeated rows are counted in `unread`; no work is missing without them."""


def without_times(kind: OperationKind) -> str:
    """How work whose times the tool does not know is counted in `unread`."""
    return f"{PLURALS[kind]} without times"


def decoded(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with its mark, as PowerShell redirects output; what is neither is replaced."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8", errors="replace").removeprefix("\ufeff")


def listed(counts: Counter[str]) -> str:
    """`12 kernels without times, 3 events without a category`, most first."""
    return ", ".join(
        f"{count} {_ONE.sub(lambda plural: 'y' if plural[0] == 'ies' else '', what, 1) if count == 1 else what}"
        for what, count in counts.most_common()
    )


_ONE = re.compile(r"(ies|s)\b")
