"""What an engine sets in the environment of its processes: the node's number, and thread limits that spoil figures."""

from collections.abc import Mapping, MutableMapping

_NUMBERS = ("SLURM_NODEID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "GPUBENCH_NODE", "PET_NODE_RANK", "GROUP_RANK")
"""Slurm, Open MPI, MPICH, Ray and local (set by gpubench), Kubeflow's training operator, torchrun."""

_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SET_BY = ("RAY_JOB_ID", "TORCHELASTIC_RUN_ID")
"""Variables of programs that limit their processes to one thread each without being asked."""


def node_number(environ: Mapping[str, str]) -> int | None:
    """The number of this node, from 0; None if no engine sets one."""
    for name in _NUMBERS:
        value = environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None


def undo_thread_limits(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Removes and returns thread limits that Ray or torchrun set."""
    if not any(name in environ for name in _SET_BY):
        return {}
    return {name: environ.pop(name) for name in _LIMITS if name in environ}
