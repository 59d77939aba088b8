"""Pods, or other machines that all run the same command and read their node number from the environment.

Kubeflow's TrainJob and PyTorchJob set PET_NNODES and PET_NODE_RANK, others WORLD_SIZE and RANK (one process per node);
all set MASTER_ADDR and MASTER_PORT. The first node runs the suite and waits there for the others, which become
`gpubench node`. The run's key is in the environment too (GPUBENCH_NODE_KEY, in pods from a Secret).
"""

from collections.abc import Mapping
from typing import NamedTuple

from gpubench.core.errors import UsageError
from gpubench.runner.engines.engine import Asked
from gpubench.runner.engines.local import Local

_FIRST = "MASTER_ADDR"
_PORT = "MASTER_PORT"
_NUMBER = ("PET_NODE_RANK", "RANK")
_NODES = ("PET_NNODES", "WORLD_SIZE")


class Pods(NamedTuple):
    """The node's number, the number of nodes, and the address of the first one."""

    node: int
    num_nodes: int
    address: str
    port: int


def pods(environ: Mapping[str, str]) -> Pods:
    """Reads the environment. UsageError if variables are missing."""
    number, nodes = (_first(environ, names) for names in (_NUMBER, _NODES))
    address, port = environ.get("PET_MASTER_ADDR") or environ.get(_FIRST), environ.get("PET_MASTER_PORT")
    port = port or environ.get(_PORT)
    if number is None or nodes is None or not address or not (port or "").isdecimal():
        raise UsageError(
            "the engine env needs the variables of a pod: PET_NODE_RANK or RANK, PET_NNODES or WORLD_SIZE, "
            f"{_FIRST} and {_PORT}",
            hint="A TrainJob sets them; docs/examples/trainjob.yaml is a manifest.",
        )
    return Pods(number, nodes, address, int(port or 0))


def start(asked: Asked) -> Local:
    """Starts the first node's own agent; the other nodes start theirs."""
    return Local(asked, only=(0,))


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    numbers = [environ[name] for name in names if environ.get(name, "").isdecimal()]
    return int(numbers[0]) if numbers else None
