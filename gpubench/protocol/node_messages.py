"""What a run and the agents on its nodes say to each other: JSON, one message at a time, over one connection per node.

    agent -> run    node_hello, host_ready | host_failed, from_child, node_done
    run -> agent    start_host, end_host, node_job, stop, kill, goodbye

An agent starts worker hosts as a run on one machine does, and passes on what their children say (`from_child`).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from gpubench.core.findings import Finding
from gpubench.core.stored_model import Frozen
from gpubench.core.version import __version__
from gpubench.protocol.messages import PROTOCOL_VERSION, Failed, Hello, Job, Meeting, Phase, Progress, Result, Started

MOST_BYTES = 64 * 2**20


class NodeHello(Frozen):
    """First of all. `node`: its number, where the engine gave it one. `card` of `num_cards`: the agent has one of its
    machine's CUDA devices, and there is an agent for each of the others.
    """

    type: Literal["node_hello"] = "node_hello"
    version: int = PROTOCOL_VERSION
    gpubench: str = __version__
    host: str
    pid: int
    node: int | None = None
    card: int = 0
    num_cards: int = 1


class StartHost(Frozen):
    """A worker host in this interpreter (None: the agent's own) with these variables, which imports `modules`."""

    type: Literal["start_host"] = "start_host"
    number: int
    python: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    modules: tuple[str, ...] = ()


class HostReady(Frozen):
    type: Literal["host_ready"] = "host_ready"
    number: int
    hello: Hello
    seconds: float


class HostFailed(Frozen):
    type: Literal["host_failed"] = "host_failed"
    number: int
    reason: str
    hint: str = ""


class EndHost(Frozen):
    type: Literal["end_host"] = "end_host"
    number: int
    now: bool = False


class NodeJob(Frozen):
    """A job for the node's host `number`. Paths in it are replaced by the agent's own: `log`, `scratch`."""

    type: Literal["node_job"] = "node_job"
    number: int
    job: Job
    telemetry: Literal["off", "boundary", "sampled"] = "sampled"


class FromChild(Frozen):
    type: Literal["from_child"] = "from_child"
    job: int
    message: Annotated[Hello | Meeting | Started | Phase | Progress | Result | Failed, Field(discriminator="type")]


class StopJob(Frozen):
    """Asks the job's child to finish its step; with `now` it is killed."""

    type: Literal["stop_job"] = "stop_job"
    job: int
    now: bool = False


class NodeWindow(Frozen):
    """Telemetry of the measured window, of the device of one rank (`TelemetryWindow`)."""

    metrics: dict[str, float | None] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    detail: dict[str, Any] = Field(default_factory=dict)
    series: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class NodeDone(Frozen):
    """The job's child is gone. `garbage`: what it sent that is no message; `host_lost`: how the host ended under it.
    `log`: the end of what it wrote. `windows`: by rank of the launch.
    """

    type: Literal["node_done"] = "node_done"
    job: int
    exit_code: int | None = None
    garbage: str | None = None
    host_lost: str | None = None
    log: str = ""
    windows: dict[int, NodeWindow] = Field(default_factory=dict)


class Goodbye(Frozen):
    """The run is over, or does not want this agent, and says why."""

    type: Literal["goodbye"] = "goodbye"
    reason: str = ""


NodeMessage = Annotated[
    NodeHello | StartHost | HostReady | HostFailed | EndHost | NodeJob | FromChild | StopJob | NodeDone | Goodbye,
    Field(discriminator="type"),
]
NODE_MESSAGES: TypeAdapter[NodeMessage] = TypeAdapter(NodeMessage)


def encode_node(message: NodeMessage) -> bytes:
    """JSON; NaN and infinities survive."""
    return message.model_dump_json(by_alias=True).encode()


def decode_node(data: bytes) -> NodeMessage:
    """ValueError (pydantic's) if it is not a message."""
    return NODE_MESSAGES.validate_json(data)
