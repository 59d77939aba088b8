"""Starts worker hosts as programs, one per interpreter and environment, and keeps them."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from gpubench.core.cpus import own_delay_s
from gpubench.core.errors import WorkerError
from gpubench.core.secrets import given_back, mask_text, masked
from gpubench.protocol import start_module
from gpubench.protocol.messages import PROTOCOL_VERSION, End, Hello, Job, Message, encode
from gpubench.runner.launch.job_pipe import END_TIMEOUT_S, Heard, HostProcess, explain_exit
from gpubench.store.atomic_files import open_own, read_end, store_error
from gpubench.suite.model.case import Case
from gpubench.telemetry.window.window_figures import TelemetryWindow

_TAIL_BYTES = 10_000
START_TIMEOUT_S = 180.0
"""Importing torch from a cold network disk takes a minute and more."""


class HostKilledError(WorkerError):
    """A signal ended a host before it was ready; it may be worth another try."""


class HostKey(NamedTuple):
    """What a host is started with; cases with the same key share a host. `python` None is this interpreter."""

    python: str | None
    env: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, case: Case) -> "HostKey":
        return cls(case.python, tuple(sorted(case.env.items())))

    def __str__(self) -> str:
        parts = [f"{name}={masked(name, value)}" for name, value in self.env]
        return " ".join([*parts, self.python or "this interpreter"])


class NodeTelemetry(Protocol):
    """Of hosts on other machines: what was sampled there in the measured window of the last job."""

    def window(self) -> TelemetryWindow | None: ...


class Host(HostProcess):
    """A running host. `hello` is its first message, `seconds` its start time."""

    telemetry: NodeTelemetry | None = None
    turns = 1

    def __init__(
        self,
        key: HostKey,
        log: Path,
        *,
        folder: Path | None = None,
        modules: Sequence[str] = (),
        timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        """`folder` is its working folder, by default the current one. It imports `modules` for its jobs.

        WorkerError if it cannot be started, does not answer in time, or speaks another version of the protocol.
        """
        self.key, self.log, self._folder, self._modules = key, log, folder, modules
        self._interpreter = key.python or sys.executable
        began_s = time.monotonic()
        ours, theirs = socket.socketpair()
        try:
            super().__init__(self._start(theirs), ours)
        except OSError as error:
            ours.close()
            raise WorkerError(
                f"cannot start {self._interpreter}: {error.strerror or error}",
                hint="Give `python` the path of an interpreter in which gpubench is installed.",
            ) from error
        finally:
            theirs.close()
        try:
            self.hello = self._greeting(began_s + timeout_s)
        except BaseException:
            self.kill()
            raise
        self.seconds = time.monotonic() - began_s

    def stop_child(self, pid: int) -> None:
        """Asks the child to finish its step and send its result."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill_child(self, pid: int) -> None:
        """Kills the child and what it started."""
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(pid, signal.SIGKILL)

    def delayed_s(self, pid: int) -> float:
        """Seconds that the child was ready to run without a CPU; 0 where the kernel does not say."""
        return own_delay_s(f"/proc/{pid}/schedstat") or 0.0

    def end(self) -> None:
        """Asks the host to end, and kills it if it does not."""
        with contextlib.suppress(OSError):
            self.socket.sendall(encode(End()))
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.socket.close()

    def _start(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        python, environ = self.key.python, os.environ | given_back(dict(self.key.env), os.environ)
        arguments = ["--socket-fd", str(theirs.fileno()), "--modules", *self._modules]
        try:
            descriptor = open_own(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except OSError as error:
            raise store_error("write", self.log, error) from error
        with os.fdopen(descriptor, "ab") as output:
            return subprocess.Popen(
                start_module.command("gpubench.worker", *arguments, python=python),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd=self._folder or current_folder() or "/",
                stdout=output,
                stderr=output,
                start_new_session=True,  # the parent handles Ctrl-C
                env=environ | start_module.environment(python, environ),
            )

    def _exit_status(self) -> int | None:
        """The exit status after the host closed its connection; None if it does not end."""
        try:
            return self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None

    def _greeting(self, deadline_s: float) -> Hello:
        messages: list[Message] = []
        while not messages:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise WorkerError(
                    f"the worker host said nothing for {START_TIMEOUT_S:.0f} s: {self._tail()}",
                    hint="Importing torch hangs or is very slow; `python -X importtime -c 'import torch'` shows where.",
                )
            try:
                said = self.read()
            except ValueError as error:
                raise WorkerError(f"the worker host sent something that is not a message: {error}") from error
            if said is None:
                code, tail = self._exit_status(), self._tail()
                hint = "The last line of its output says why."
                if "No module named" in tail:
                    hint = f"Install gpubench and torch into it: {self._interpreter} -m pip install gpubench"
                failed = f"the worker host of {self._interpreter} did not start"
                if code is None:
                    raise WorkerError(f"{failed}: it closed its connection and did not end: {tail}", hint=hint)
                if code < 0:
                    raise HostKilledError(f"{failed}: {explain_exit(code)}; its last output: {tail}")
                raise WorkerError(f"{failed}: {tail}", hint=hint)
            messages = said
        greeting = messages[0]
        if not isinstance(greeting, Hello) or greeting.role != "host":
            raise WorkerError(f"the worker host began with {greeting.type!r} instead of a hello")
        if greeting.version != PROTOCOL_VERSION:
            raise WorkerError(
                f"the worker host uses protocol version {greeting.version}, this gpubench {PROTOCOL_VERSION}",
                hint="Install the same gpubench into both interpreters.",
            )
        return greeting

    def _tail(self) -> str:
        """The last line it wrote."""
        with contextlib.suppress(OSError):
            lines = read_end(self.log, _TAIL_BYTES)[0].split("\n")
            return mask_text(next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing"))
        return "it wrote nothing"


def current_folder() -> Path | None:
    """The current folder; None if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


class RunningJobs(Protocol):
    """A job on a host, heard as `JobPipe` hears it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, timeout_s: float) -> list[Heard] | None: ...

    def rest(self) -> tuple[list[Heard], bool]: ...


class AnyHost(Protocol):
    """A host on this machine (`Host`), or one on each of several (`nodes.cluster_host.ClusterHost`)."""

    @property
    def key(self) -> HostKey: ...

    @property
    def hello(self) -> Hello: ...

    @property
    def seconds(self) -> float: ...

    @property
    def pid(self) -> int: ...

    @property
    def telemetry(self) -> NodeTelemetry | None: ...

    @property
    def turns(self) -> int:
        """How many times longer than one launch a job of a fleet may take."""

    def begin(self, job: Job, wake_fd: int) -> RunningJobs: ...

    def stop_child(self, pid: int) -> None: ...

    def kill_child(self, pid: int) -> None: ...

    def delayed_s(self, pid: int) -> float: ...

    def kill(self) -> None: ...

    def end(self) -> None: ...


MOST_HOSTS = 4
"""Each holds some hundreds of MB."""


class HostPool:
    """The hosts of a round, started on demand. `started` is called with each new one.

    At most `MOST_HOSTS` live at a time, unless more room is made. The least recently used one makes room.
    """

    def __init__(
        self,
        log: Path,
        started: Callable[[AnyHost], None],
        *,
        start: Callable[[HostKey, Path], AnyHost] = Host,
    ) -> None:
        self._log, self._started, self._limit, self._start = log, started, MOST_HOSTS, start
        self._hosts: dict[HostKey, AnyHost] = {}

    def make_room(self, number: int) -> None:
        """Raises the limit: every arm of a comparison needs its own host in every round."""
        self._limit = max(self._limit, number)

    def get(self, key: HostKey) -> AnyHost:
        """The host for `key`. WorkerError if it cannot be started."""
        host = self._hosts.pop(key, None)
        if host is None:
            while len(self._hosts) >= self._limit:
                self._hosts.pop(next(iter(self._hosts))).end()
            try:
                host = self._start(key, self._log)
            except HostKilledError:
                host = self._start(key, self._log)
            self._started(host)
        self._hosts[key] = host
        return host

    def discard(self, host: AnyHost) -> None:
        """Kills a broken host; the next `get` starts another."""
        if self._hosts.get(host.key) is host:
            del self._hosts[host.key]
        host.kill()

    def close(self, *, now: bool = False) -> None:
        """Ends every host, or kills it `now`."""
        for host in self._hosts.values():
            host.kill() if now else host.end()
        self._hosts.clear()


def versions_of(hellos: Iterable[Hello]) -> dict[str, str | None]:
    """Versions of the hosts' software, joined if they differ: `2.12.1 | 2.13.0`."""
    merged: dict[str, list[str]] = {}
    for hello in hellos:
        for name, value in hello.versions.items():
            known = merged.setdefault(name, [])
            if value is not None and value not in known:
                known.append(value)
    return {name: " | ".join(values) or None for name, values in merged.items()}


def device_index(case: Case) -> int:
    """CUDA's own number of the case's device."""
    return int(case.device.partition(":")[2] or 0)


def nodes_wanted(world_size: int, ranks_per_node: int) -> int:
    """The least number of nodes that `world_size` is a multiple of and that has room for as many ranks.

    >>> nodes_wanted(8, 4), nodes_wanted(6, 4), nodes_wanted(1, 4), nodes_wanted(7, 4)
    (2, 2, 1, 7)
    """
    least = -(-world_size // ranks_per_node)
    return next(number for number in range(least, world_size + 1) if world_size % number == 0)
