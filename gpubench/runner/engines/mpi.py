"""Open MPI: `mpirun` starts one agent per node of its allocation or host file. Ranks are not MPI processes."""

import os

from gpubench.runner.engines.engine import Asked, Starter


def start(asked: Asked, options: tuple[str, ...] = ()) -> Starter:
    """`options` go to mpirun (`--hostfile hosts`)."""
    exported = [word for name in asked.variables for word in ("-x", name)]
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    one_each = ["-np", str(asked.num_nodes), "--map-by", "node", "--oversubscribe", "--bind-to", "none"]
    command = ["mpirun", *as_root, *one_each, *exported, *options, *asked.command]
    return Starter("mpirun", command, asked, os.environ)
