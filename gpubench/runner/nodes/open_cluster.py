"""Opens the cluster that a suite's settings describe."""

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gpubench.core.errors import UsageError
from gpubench.runner.engines import env, slurm_mpi_ray
from gpubench.runner.engines.engine import Asked, Engine, agent_command
from gpubench.runner.engines.local import Local
from gpubench.runner.nodes.addresses import address_of
from gpubench.runner.nodes.agent import serve_cards, serve_run
from gpubench.runner.nodes.cluster import Cluster, Say
from gpubench.runner.nodes.connection import KEY_VARIABLE, NodeListener, new_key
from gpubench.suite.model.suite import ClusterSettings

_NODES_OF_ALLOCATION = ("SLURM_JOB_NUM_NODES", "SLURM_NNODES")


def open_cluster(settings: ClusterSettings, log: Path, say: Say, *, per_card: bool = False) -> Cluster:
    """Listens on the cluster's interface, to which the agents will connect. UsageError on failure.

    The engine and its agents write their logs next to `log`. `per_card`: each CUDA device of a node has an agent.
    """
    engine, port, key = settings.engine, settings.port, os.environ.get(KEY_VARIABLE) or new_key()
    num_nodes, interface = settings.nodes, settings.interface
    if engine == "env":
        pods = env.pods(os.environ)
        num_nodes, interface = num_nodes or pods.num_nodes, interface or pods.address
        port = port or pods.port
        if KEY_VARIABLE not in os.environ:
            raise UsageError(f"the engine env needs {KEY_VARIABLE}", hint="All nodes must have the same secret value.")
    elif engine == "slurm" and num_nodes is None:
        num_nodes = next((int(os.environ[name]) for name in _NODES_OF_ALLOCATION if name in os.environ), None)
    elif engine == "local" and num_nodes is None and per_card:
        num_nodes = 1
    if num_nodes is None:
        raise UsageError(f"how many nodes? `cluster.nodes` is not given, and the engine {engine} does not say it")
    address = address_of(interface or ("127.0.0.1" if engine == "local" else socket.gethostname()))
    listener = NodeListener(address, port, key)
    start = partial(_start, settings, num_nodes, key, log.with_name("nodes"), per_card)
    return Cluster(start, listener, num_nodes, settings.wait, say)


def become_a_node(settings: ClusterSettings | None, *, per_card: bool = False) -> bool:
    """With the engine `env`, on every node but the first: serves the run as an agent. Returns whether it did."""
    if settings is None or settings.engine != "env":
        return False
    pods = env.pods(os.environ)
    if pods.node == 0:
        return False
    serve = serve_cards if per_card else serve_run
    serve(pods.address, settings.port or pods.port, pods.node, patience_s=settings.wait)
    return True


def _start(settings: ClusterSettings, num_nodes: int, key: str, log: Path, per_card: bool, address: str) -> Engine:
    command = agent_command(address, *(["--per-card"] if per_card else []))
    asked = Asked(num_nodes, command, {KEY_VARIABLE: key}, log)
    options = tuple(settings.options)
    engines: dict[str, Callable[[], Engine]] = {
        "local": lambda: Local(asked),
        "env": lambda: Local(asked, only=(0,)),  # the other nodes start theirs
        "slurm": lambda: slurm_mpi_ray.slurm(asked, options),
        "mpi": lambda: slurm_mpi_ray.mpi(asked, options),
        "ray": lambda: slurm_mpi_ray.ray(asked),
    }
    return engines[settings.engine]()
