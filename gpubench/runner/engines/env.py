"""What engines set in the environment: a pod's place among all, a node's number, and thread limits that spoil figures.

Kubeflow's TrainJob and PyTorchJob set PET_NNODES and PET_NODE_RANK, others WORLD_SIZE and RANK (one process per node);
all set MASTER_ADDR and MASTER_PORT. The first node runs the suite and waits there for the others, which become
`gpubench node`. The run's key is in the environment too (GPUBENCH_NODE_KEY, in pods from a Secret).
"""

from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

from gpubench.core.errors import UsageError

_FIRST = "MASTER_ADDR"
_PORT = "MASTER_PORT"
_NUMBER = ("PET_NODE_RANK", "RANK")
_NODES = ("PET_NNODES", "WORLD_SIZE")

_NUMBERS = ("SLURM_NODEID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "GPUBENCH_NODE", "PET_NODE_RANK", "GROUP_RANK")
"""Slurm, Open MPI, MPICH, Ray and local (set by gpubench), Kubeflow's training operator, torchrun."""

_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SET_BY = ("RAY_JOB_ID", "TORCHELASTIC_RUN_ID")
"""Variables of programs that limit their processes to one thread each without being asked."""


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


def node_number(environ: Mapping[str, str]) -> int | None:
    """The number of this node, from 0; None if no engine sets one."""
    return _first(environ, _NUMBERS)


def undo_thread_limits(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Removes and returns thread limits that Ray or torchrun set."""
    if not any(name in environ for name in _SET_BY):
        return {}
    return {name: environ.pop(name) for name in _LIMITS if name in environ}


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    numbers = [environ[name] for name in names if environ.get(name, "").isdecimal()]
    return int(numbers[0]) if numbers else None
