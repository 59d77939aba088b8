"""What a profiler saw, in one form for every tool. Readers make it; `summarize` reads it.

Times are integer nanoseconds on the trace's own clock, the same for host and device. Threads are numbered so that two
processes never share a number; a process is named by the number that its threads carry.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gpubench.core.errors import UsageError

STEP = "step"
NSYS_REPORT, NSYS_OLD_REPORT, NSYS_UNIMPORTED, NCU_REPORT = ".nsys-rep", ".qdrep", ".qdstrm", ".ncu-rep"
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

    `payload` is the integer given with it (the index of a step), None without one. `end` of a range that the trace cuts
    off is the trace's end.
    """

    domain: str
    name: str
    start: int
    end: int
    process: int
    thread: int
    payload: int | None = None
    nested: bool = True


class LaunchCall(NamedTuple):
    """A call of the CUDA runtime or driver on a host thread that caused device work."""

    start: int
    end: int
    process: int
    thread: int


class Operation(NamedTuple):
    """One piece of device work. `launch` is its key in `Trace.launches`, None if the tool does not know it.

    `bytes`, `direction` and `pageable` are those of copies (None: unknown); a graph is a whole CUDA graph traced as
    one. `tensor_cores` tells whether a kernel used them (None: not counted).
    """

    kind: OperationKind
    name: str
    start: int
    end: int
    device: int
    stream: int
    process: int
    launch: int | None = None
    bytes: int | None = None
    direction: Direction | None = None
    pageable: bool | None = None
    tensor_cores: bool | None = None


@dataclass
class Trace:
    """One file. `launches` by correlation key, unique within the file; `main_threads` by process, if the tool tells.

    `cuda_seen` says that the program called CUDA at all: a trace with calls and without device work was taken without
    the permission, or by a tool that does not know the driver. `unread` holds, per kind of row left out, how many there
    were. Without `timeline` only the lengths of things are true, not when they were: the tool ran them one by one.
    """

    tool: Literal["nsys", "ncu", "torch"]
    tool_version: str | None = None
    source: str = ""
    ranges: list[Range] = field(default_factory=list)
    launches: dict[int, LaunchCall] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    device_names: dict[int, str] = field(default_factory=dict)
    main_threads: dict[int, int] = field(default_factory=dict)
    cuda_seen: bool = False
    timeline: bool = True
    unread: dict[str, int] = field(default_factory=dict)
