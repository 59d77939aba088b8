"""What parent, host and child send each other: one JSON object per line, on separate pipes, never stdout.

The parent starts a host and holds one end of a Unix socket pair with it. To run a job the parent makes a pipe and sends
its write end with the job; the host forks, and only the child writes to that pipe. So a child that dies mid-line spoils
only its own messages. Every message is `{"type": ..., ...}`; the first of each stream is a `hello` with the protocol's
version.

    parent -> host    job, end
    host -> parent    hello, started, exited
    child -> parent   hello, meeting, phase, progress, result | failed
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from gpubench.core.findings import Finding
from gpubench.core.records import Effective, Failure, Parity, Quality, RankRecord, Series, Window
from gpubench.core.stored_model import Frozen
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure, QualitySettings

PROTOCOL_VERSION = 2

STUCK = "where the others wait for"
"""In the name of a phase, before the ranks that have not come to their first step."""


class NodePlace(Frozen):
    """Where among several machines a job's ranks are: node `node_rank` of `num_nodes`, each with as many.

    `address` of this node, to which the others can connect, on the network `interface`. `meeting` is where the first
    node waits for the others (HOST:PORT); the first one gets None and says it (`Meeting`).
    """

    num_nodes: int = Field(ge=2)
    node_rank: int = Field(ge=0)
    address: str = "127.0.0.1"
    interface: str | None = None
    meeting: str | None = None


class JobArm(Frozen):
    """One side of a comparison, and its case."""

    name: str
    case: Case


class Job(Frozen):
    """Parent to host: do this in a new child. The child's message pipe comes as a file descriptor with it.

    `blocks` measures `arms`, the reference first, in alternating blocks of steps; `order` seeds their order, and `twin`
    adds the reference a second time, to see whether an arm equals itself. `case` is then the reference's. `contest`
    does the same with short blocks and only compares the arms: its answer is `Turns`, without figures for each.

    `largest_batch`: the batch that an earlier launch of a case with `batch_size: max` found, so that all its launches
    use the same one. `seats`: of a fleet, the agents that measure it, each alone; () for all. `scratch` is a folder for
    temporary files, which the parent removes however the child ends.
    """

    type: Literal["job"] = "job"
    job: int
    kind: Literal["measure", "quality", "blocks", "contest"] = "measure"
    case: Case
    largest_batch: int | None = None
    arms: tuple[JobArm, ...] = ()
    order: int = 0
    twin: bool = False
    repeat: int = 1
    suite: str = ""
    label: str = ""
    measure: Measure = Measure()
    quality: QualitySettings | None = None
    parity: bool = False
    seed: int = 0
    log: str
    scratch: str | None = None
    search_path: tuple[str, ...] = ()
    download: bool = False
    place: NodePlace | None = None
    seats: tuple[int, ...] | None = None

    @property
    def num_local_ranks(self) -> int:
        """Ranks on this machine."""
        return self.case.world_size // (1 if self.place is None else self.place.num_nodes)

    @property
    def first_rank(self) -> int:
        """Number of the first rank on this machine."""
        return 0 if self.place is None else self.place.node_rank * self.num_local_ranks


class End(Frozen):
    """Parent to host: no more jobs."""

    type: Literal["end"] = "end"


class NodeFacts(Frozen):
    """A machine of the run, and why no case can use it (None: it can)."""

    number: int
    host: str = ""
    num_devices: int = 0
    problem: str | None = None


class Hello(Frozen):
    """`nodes`: of a host on several machines, each of them; the rest is then that of the first."""

    type: Literal["hello"] = "hello"
    version: int = PROTOCOL_VERSION
    pid: int
    role: Literal["host", "child"]
    python: str = ""
    versions: dict[str, str | None] = Field(default_factory=dict)
    devices: tuple[dict[str, Any], ...] = ()
    can_fork: bool = True
    cuda_unavailable: str | None = None
    nodes: tuple[NodeFacts, ...] = ()
    ranks_per_node: int | None = None


class Meeting(Frozen):
    """Child of the first node to parent: the others find it at `endpoint` (HOST:PORT)."""

    type: Literal["meeting"] = "meeting"
    endpoint: str


class Started(Frozen):
    """Host to parent: the child of `job` is process `pid`, leader of its own process group."""

    type: Literal["started"] = "started"
    job: int
    pid: int
    isolation: Literal["fork", "fresh"]


class Exited(Frozen):
    """Host to parent: the child of `job` ended with this `os.waitstatus_to_exitcode` value (negative: a signal)."""

    type: Literal["exited"] = "exited"
    job: int
    pid: int
    exit_code: int


class Phase(Frozen):
    """Child to parent: entered searching (for the largest batch), build, warmup, measuring, parity, training,
    evaluating or closing.
    """

    type: Literal["phase"] = "phase"
    name: str
    at_s: float


class Progress(Frozen):
    """Child to parent, a few times a second at most, between steps."""

    type: Literal["progress"] = "progress"
    num_steps: int
    step_time_s: float | None = None
    rel_half_width: float | None = None
    fraction: float | None = None


class SelfCheck(Frozen):
    """The reference against itself, both in alternating blocks with the other arms. Logs of ratios of step time.

    `twin` is the second replica over the first, with `low` .. `high` at 99.4 % (None: too few pairs for an interval).
    `after_other`: how much longer a block takes after a block of another arm than after one of the same arm, with the
    two-sided p-value of "no difference" (None where either never happened).
    """

    twin: float
    low: float | None = None
    high: float | None = None
    after_other: float | None = None
    p_value: float | None = None


class Turns(Frozen):
    """How the arms of one process compare, from their turns.

    `log_speeds` by arm: log of samples (latency: of requests) per second, at the level of the process; only differences
    mean something. `twin` is that of the reference's second replica, None if there was no room for it. `threads` are
    torch's, `waits_left_out` whether time spent waiting for a CPU that other programs used is left out.
    """

    num_turns: int
    log_speeds: dict[str, float]
    twin: float | None = None
    threads: int | None = None
    waits_left_out: bool = False


class Result(Frozen):
    """Child to parent: the launch's figures. Times in seconds; `step_times_s` holds every timed step, warm-up included.

    For a job of kind `blocks`, `arms` holds the figures of each arm in the job's order, all but the first with a
    `block_log_ratio` against the first; `window` covers all of them, and the other figures are empty.

    `files` and `data_files`: digests by path of the files that the workload was loaded from, and of data it read.
    `imported`: names of the modules it used from elsewhere. `ranks`: the processes of a case with several.
    """

    type: Literal["result"] = "result"
    effective: Effective | None = None
    window: Window | None = None
    series: Series | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    parity: Parity | None = None
    quality: Quality | None = None
    findings: tuple[Finding, ...] = ()
    step_times_s: tuple[float, ...] = ()
    marks: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    interrupted: bool = False
    files: dict[str, str] = Field(default_factory=dict)
    data_files: dict[str, str] = Field(default_factory=dict)
    imported: tuple[str, ...] = ()
    arms: "tuple[Result, ...]" = ()
    block_log_ratio: float | None = None
    self_check: SelfCheck | None = None
    turns: Turns | None = None
    ranks: tuple[RankRecord, ...] = ()


class Failed(Frozen):
    """Child to parent: no figures."""

    type: Literal["failed"] = "failed"
    status: Literal["oom", "failed", "unsupported", "skipped"]
    reason: str
    failure: Failure | None = None
    effective: Effective | None = None
    findings: tuple[Finding, ...] = ()


Message = Annotated[
    Job | End | Hello | Meeting | Started | Exited | Phase | Progress | Result | Failed,
    Field(discriminator="type"),
]
MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)


def encode(message: Message) -> bytes:
    """One line of JSON with its newline. NaN and infinities survive because the message's own configuration is used; a
    TypeAdapter's would write null.
    """
    return message.model_dump_json(by_alias=True).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line. ValueError (pydantic's) if it is not one."""
    return MESSAGES.validate_json(line)


MAX_LINE_BYTES = 64 * 2**20
"""A result with a hundred thousand step times takes about 2 MB; nothing longer than this is a message."""


class LineBuffer:
    """Joins chunks of any size into lines. `rest` is what remains at the end of the stream: a torn message."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._num_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their newlines. ValueError for a line longer than 64 MiB."""
        *lines, last = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._chunks, lines[0]))
            self._chunks, self._num_bytes = [], 0
        self._chunks.append(last)
        self._num_bytes += len(last)
        if self._num_bytes > MAX_LINE_BYTES:
            raise ValueError(f"a message is longer than {MAX_LINE_BYTES} bytes")
        return lines

    @property
    def rest(self) -> bytes:
        return b"".join(self._chunks)
