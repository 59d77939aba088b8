"""What an engine tells a process it starts: which node it is, and limits that are not meant for measurements."""

from collections.abc import Mapping, MutableMapping

_NUMBERS = ("SLURM_NODEID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "GPUBENCH_NODE", "PET_NODE_RANK", "GROUP_RANK")
"""Slurm, Open MPI, MPICH, Ray and local (set by us), Kubeflow's training operator, torchrun."""

_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SET_BY = ("RAY_JOB_ID", "TORCHELASTIC_RUN_ID")
"""Their programs get one thread each, whoever asked for it."""


def node_number(environ: Mapping[str, str]) -> int | None:
    """The number of this node, from 0; None where no engine says it."""
    for name in _NUMBERS:
        value = environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None


def undo_thread_limits(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Removes limits of threads that Ray or torchrun set, and returns them."""
    if not any(name in environ for name in _SET_BY):
        return {}
    return {name: environ.pop(name) for name in _LIMITS if name in environ}
