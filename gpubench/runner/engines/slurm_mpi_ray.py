"""Engines that are one program, which starts all agents: Slurm's `srun`, Open MPI's `mpirun`, Ray's cluster."""

import os
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec

from gpubench.core.errors import UsageError
from gpubench.protocol import start_module
from gpubench.runner.engines.engine import Asked, end, last_line


class Starter:
    def __init__(self, name: str, command: Sequence[str], asked: Asked) -> None:
        """UsageError if the program is not installed."""
        self._name, self._log = name, asked.log
        try:
            with asked.log.open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, **start_module.environment(), **asked.variables},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise UsageError(
                f"there is no `{command[0]}` here, which the engine {name} needs",
                hint="Run inside an allocation, on a node where it is installed, or choose another --engine.",
            ) from error

    def problem(self, node: int) -> str | None:  # noqa: ARG002 - the program starts all nodes or none
        status = self._process.poll()
        if status is None:
            return None
        return f"{self._name} ended with status {status}: {last_line(self._log)}"

    def close(self) -> None:
        end([self._process])


def slurm(asked: Asked, options: tuple[str, ...] = ()) -> Starter:
    """`srun` uses the current allocation, or asks for one and waits. `options` go to it (`--gpus-per-node=8`). The key
    travels in the environment (`--export=ALL`).
    """
    one_each = [f"--nodes={asked.num_nodes}", f"--ntasks={asked.num_nodes}", "--ntasks-per-node=1", "--export=ALL"]
    # A failing node ends only its own agent: the run reports it and goes on with the others.
    return Starter("srun", ["srun", *one_each, "--kill-on-bad-exit=0", "--wait=0", *options, *asked.command], asked)


def mpi(asked: Asked, options: tuple[str, ...] = ()) -> Starter:
    """`mpirun` uses its allocation or host file; `options` go to it. Ranks are not MPI processes."""
    exported = [word for name in asked.variables for word in ("-x", name)]
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    one_each = ["-np", str(asked.num_nodes), "--map-by", "node", "--oversubscribe", "--bind-to", "none"]
    return Starter("mpirun", ["mpirun", *as_root, *one_each, *exported, *options, *asked.command], asked)


def ray(asked: Asked) -> Starter:
    """`start_on_ray` asks the cluster that Ray's own RAY_ADDRESS selects. UsageError if ray is not installed."""
    if find_spec("ray") is None:
        raise UsageError("the engine ray needs the package ray", hint="pip install 'gpubench[ray]'")
    names = ",".join(asked.variables)
    command = start_module.command("gpubench.runner.engines.start_on_ray", str(asked.num_nodes), names, *asked.command)
    return Starter("ray", command, asked)
