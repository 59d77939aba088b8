"""Starts `nodes` agents on this machine: to try out a cluster, or to keep groups of devices apart."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from gpubench.protocol import start_module
from gpubench.runner.engines.engine import Asked, end, last_line


class Local:
    def __init__(self, asked: Asked, only: Sequence[int] | None = None) -> None:
        """`only`: numbers of the nodes whose agents to start; None for all."""
        numbers = range(asked.num_nodes) if only is None else only
        self._logs = {number: asked.log.with_suffix(f".{number}.log") for number in numbers}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for number, log in self._logs.items():
            with log.open("ab") as output:
                self.processes[number] = subprocess.Popen(
                    [*asked.command, "--node", str(number)],
                    env={**os.environ, **start_module.environment(), **asked.variables, "GPUBENCH_NODE": str(number)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )

    def problem(self, node: int) -> str | None:
        process = self.processes.get(node)
        status = None if process is None else process.poll()
        return None if status is None else f"its agent ended with status {status}: {last_line(self._logs[node])}"

    def close(self) -> None:
        end(list(self.processes.values()))
        for process in self.processes.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        for log in self._logs.values():
            if log.exists() and log.stat().st_size == 0:
                log.unlink()
