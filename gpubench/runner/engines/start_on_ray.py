"""The program of the engine ray: runs a command once on each node of a Ray cluster.

    python -m gpubench.runner.engines.start_on_ray NUM_NODES VARIABLE,... COMMAND...

Waits for the commands and prints the end of their output. The variables (with the run's key) reach the nodes through
Ray, which encrypts nothing unless TLS is on.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str]) -> int:
    """Returns 1 if the cluster has too few nodes or a command failed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    num_nodes, names, *command = arguments
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < int(num_nodes):
        _say(f"the Ray cluster has {len(nodes)} node{'s' * (len(nodes) != 1)}, not {num_nodes}")
        return 1
    variables = {name: os.environ[name] for name in (*names.split(","), "PYTHONPATH") if name in os.environ}
    tasks = {
        _task(ray, node).remote(command, {**variables, "GPUBENCH_NODE": str(number)}, str(Path.cwd())): number
        for number, node in enumerate(nodes[: int(num_nodes)])
    }
    failed = False
    while tasks:
        done, _ = ray.wait(list(tasks))
        for each in done:
            number = tasks.pop(each)
            status, text = ray.get(each)
            failed = failed or status != 0
            _say(f"node {number}: status {status}: {text}")
    return int(failed)


def _task(ray: Any, node: dict[str, Any]) -> Any:
    """Runs on this node only, once all its GPUs are free, so that no other Ray task measures at the same time."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return ray.remote(_run_command).options(
        num_cpus=min(1, node["Resources"].get("CPU", 0)),
        num_gpus=node["Resources"].get("GPU", 0),
        max_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
    )


def _run_command(command: list[str], variables: dict[str, str], folder: str) -> tuple[int, str]:
    """Exit status and last lines of output. Refers to nothing outside itself, because Ray sends only this function."""
    import os
    import subprocess
    from pathlib import Path

    done = subprocess.run(
        command,
        env={**os.environ, **variables},
        cwd=folder if Path(folder).is_dir() else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, "\n".join(done.stdout.splitlines()[-5:])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
