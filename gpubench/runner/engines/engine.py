"""The interface of an engine."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from gpubench.protocol import start_module
from gpubench.store.atomic_files import read_end

END_S = 5.0


class Asked(NamedTuple):
    """The agents to start: `command` once on each of `num_nodes` nodes, with `variables` (which include the key) added
    to its environment. Output goes to `log`.
    """

    num_nodes: int
    command: tuple[str, ...]
    variables: Mapping[str, str]
    log: Path


class Engine(Protocol):
    """Started agents. `close` is called once."""

    def problem(self, node: int) -> str | None:
        """Why the agent of this node will not connect; None while it may."""

    def close(self) -> None:
        """Ends what is still running."""


def agent_command(address: str, *arguments: str) -> tuple[str, ...]:
    """`gpubench node --connect ADDRESS` with this interpreter."""
    return (*start_module.command("gpubench", "node", "--connect", address), *arguments)


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Waits a few seconds for each process to end, then sends SIGTERM, then SIGKILL."""
    deadline_s = time.monotonic() + END_S
    for stop in (None, "terminate", "kill"):
        for process in processes:
            if stop is not None and process.poll() is None:
                getattr(process, stop)()
        for process in processes:
            try:
                process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
        if all(process.poll() is not None for process in processes):
            return
        deadline_s = time.monotonic() + END_S


def last_line(log: Path) -> str:
    """The last error that a gpubench wrote; without any, the last line."""
    lines = [line.strip() for line in read_end(log, 4096)[0].splitlines() if line.strip()] if log.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it wrote nothing"])[-1]
