"""Slurm: `srun` starts one agent per node. It uses the current allocation, or asks for one and waits."""

import os

from gpubench.runner.engines.engine import Asked, Starter


def start(asked: Asked, options: tuple[str, ...] = ()) -> Starter:
    """`options` go to srun (`--gpus-per-node=8`, `--time=30`). The key travels in the environment (`--export=ALL`)."""
    one_each = [f"--nodes={asked.num_nodes}", f"--ntasks={asked.num_nodes}", "--ntasks-per-node=1", "--export=ALL"]
    # A failing node ends only its own agent: the run reports it and goes on with the others.
    command = ["srun", *one_each, "--kill-on-bad-exit=0", "--wait=0", *options, *asked.command]
    return Starter("srun", command, asked, os.environ)
