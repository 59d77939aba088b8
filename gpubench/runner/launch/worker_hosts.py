"""Worker hosts as the parent holds them: started as programs, one per interpreter and environment."""

import contextlib
import functools
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from gpubench.core.errors import WorkerError
from gpubench.protocol.lines import LineBuffer
from gpubench.protocol.messages import (
    PROTOCOL_VERSION,
    End,
    Exited,
    Failed,
    Hello,
    Job,
    Message,
    Phase,
    Progress,
    Result,
    Started,
    decode,
    encode,
)
from gpubench.suite.model.case import Case

START_TIMEOUT_S = 180.0
"""Importing torch from a cold network disk takes a minute and more."""

_CHUNK_BYTES = 1 << 20
_END_TIMEOUT_S = 5.0


class Garbage(NamedTuple):
    """What came through a child's pipe and is no message."""

    why: str


class HostLost(NamedTuple):
    """How a host ended."""

    why: str


FromChild = Hello | Phase | Progress | Result | Failed
Heard = FromChild | Started | Exited | Garbage | HostLost


class HostKey(NamedTuple):
    """What a host is started with; cases that share it share a host. `python` None is this interpreter."""

    python: str | None
    env: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, case: Case) -> "HostKey":
        return cls(case.python, tuple(sorted(case.env.items())))

    def __str__(self) -> str:
        parts = [f"{name}={value}" for name, value in self.env]
        return " ".join([*parts, self.python or "this interpreter"])


class Host:
    """A running host. `hello` is what it said of itself, `seconds` how long its start took.

    A context manager; leaving it ends the process and whatever it started.
    """

    def __init__(self, key: HostKey, log: Path, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """WorkerError where it cannot be started, says nothing in time, or speaks another version of the protocol."""
        self.key, self.log = key, log
        self.lines = LineBuffer()
        began = time.monotonic()
        ours, theirs = socket.socketpair()
        self.socket = ours
        try:
            self._process = _start(key, theirs, log)
        except OSError as error:
            ours.close()
            raise WorkerError(
                f"cannot start {key.python or sys.executable}: {error.strerror or error}",
                hint="Give `python` the path of an interpreter in which gpubench is installed.",
            ) from error
        finally:
            theirs.close()
        try:
            self.hello = self._greeting(began + timeout_s)
        except BaseException:
            self.kill()
            raise
        self.seconds = time.monotonic() - began

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, job: Job, wake_fd: int) -> "JobPipe":
        """Hands over a job. What is written to `wake_fd` ends a wait. WorkerError if the host is gone."""
        return JobPipe(self, job, wake_fd)

    def stop_child(self, pid: int) -> None:
        """Asks the child to finish its step and to send what it has."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill_child(self, pid: int) -> None:
        """Kills the child and what it started."""
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(pid, signal.SIGKILL)

    def read(self) -> list[Message] | None:
        """The messages that have arrived; None at the end of the host. Call when the socket is readable.

        ValueError for what is no message.
        """
        try:
            chunk = self.socket.recv(_CHUNK_BYTES)
        except ConnectionResetError:
            return None
        return [decode(line) for line in self.lines.feed(chunk)] if chunk else None

    def obituary(self) -> str:
        """How it ended, for a person."""
        try:
            code = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"worker host {self.pid} closed its connection"
        return f"worker host {self.pid} ended ({describe_exit(code)})"

    def end(self) -> None:
        """Lets it end by itself, and ends it if it does not."""
        with contextlib.suppress(OSError):
            self.socket.sendall(encode(End()))
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.socket.close()

    def kill(self) -> None:
        """Ends it now. Its child goes with it: the kernel kills the child of a host that dies."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.socket.close()

    def _greeting(self, deadline_s: float) -> Hello:
        while True:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise WorkerError(
                    f"the worker host said nothing for {START_TIMEOUT_S:.0f} s: {self._tail()}",
                    hint="Importing torch hangs or is very slow; `python -X importtime -c 'import torch'` shows where.",
                )
            try:
                messages = self.read()
            except ValueError as error:
                raise WorkerError(f"the worker host sent what is no message: {error}") from error
            if messages is None:
                raise self._stillborn()
            if messages:
                return _checked(messages[0])

    def _stillborn(self) -> WorkerError:
        self._process.wait(_END_TIMEOUT_S)
        said = self._tail()
        interpreter = self.key.python or sys.executable
        hint = "The last line of its output says why."
        if "No module named" in said:
            hint = f"Install gpubench and torch into it: {interpreter} -m pip install gpubench"
        return WorkerError(f"the worker host of {interpreter} did not start: {said}", hint=hint)

    def _tail(self) -> str:
        """The last line it wrote."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="backslashreplace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
        return "it wrote nothing"


class JobPipe:
    """A job on a host: what its child says through its own pipe, and what the host says of it. A context manager."""

    def __init__(self, host: Host, job: Job, wake_fd: int) -> None:
        self._host, self._job, self._lines = host, job, LineBuffer()
        self._reader, writer = os.pipe()
        try:
            data = encode(job)
            sent = socket.send_fds(host.socket, [data], [writer])
            host.socket.sendall(data[sent:])
        except BaseException as error:
            os.close(self._reader)
            if isinstance(error, BrokenPipeError | ConnectionResetError):
                raise WorkerError(host.obituary()) from error
            raise
        finally:
            os.close(writer)
        os.set_blocking(self._reader, False)
        self._is_open, self._drained = True, False
        self._selector = selectors.DefaultSelector()
        for source in (self._reader, host.socket, wake_fd):
            self._selector.register(source, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        os.close(self._reader)

    def wait(self, timeout_s: float) -> list[Heard] | None:
        """What was said, the child's words first; None if nothing happened in time."""
        ready = {key.fileobj for key, _ in self._selector.select(timeout_s)}
        if not ready:
            return None
        heard: list[Heard] = []
        if self._reader in ready and not self._hear_child(heard):
            self._selector.unregister(self._reader)
        if self._host.socket in ready:
            try:
                messages = self._host.read()
                if messages is None:
                    heard.append(HostLost(self._host.obituary()))
                heard += (
                    message
                    for message in messages or ()
                    if isinstance(message, Started | Exited) and message.job == self._job.job
                )
            except ValueError as error:
                self._host.kill()
                heard.append(HostLost(f"worker host {self._host.pid} sent what is no message ({first_line(error)})"))
        return heard

    def rest(self) -> tuple[list[Heard], bool]:
        """What the child left in its pipe, and whether its last message is torn.

        Does not wait for the end of the pipe: a process that the child left behind may hold it open.
        """
        heard: list[Heard] = []
        self._drained = False
        while self._is_open and not self._drained:
            self._hear_child(heard)
        return heard, bool(self._lines.rest)

    def _hear_child(self, heard: list[Heard]) -> bool:
        """Takes in one chunk; False at the end of the pipe."""
        try:
            chunk = os.read(self._reader, _CHUNK_BYTES)
        except BlockingIOError:
            self._drained = True
            return True
        self._is_open = bool(chunk)
        try:
            for line in self._lines.feed(chunk):
                message = decode(line)
                if isinstance(message, FromChild):
                    heard.append(message)
                else:
                    heard.append(Garbage(f"a child does not send {message.type!r}"))
        except ValueError as error:
            heard.append(Garbage(first_line(error)))
        return self._is_open


def first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def _checked(message: Message) -> Hello:
    if not isinstance(message, Hello) or message.role != "host":
        raise WorkerError(f"the worker host began with {message.type!r} instead of a hello")
    if message.version != PROTOCOL_VERSION:
        raise WorkerError(
            f"the worker host uses protocol version {message.version}, this gpubench {PROTOCOL_VERSION}",
            hint="Install the same gpubench into both interpreters.",
        )
    return message


def _start(key: HostKey, theirs: socket.socket, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            [key.python or sys.executable, "-u", "-m", "gpubench.worker", "--socket-fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's affair
            env={**os.environ, **_import_path(key.python), **dict(key.env)},
        )


def _import_path(python: str | None) -> dict[str, str]:
    """Gives another interpreter this gpubench and nothing else of this one's packages; ours finds its own."""
    if python is None:
        return {}
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([_bridge().name, *([before] if before else [])])}


@functools.cache
def _bridge() -> "tempfile.TemporaryDirectory[str]":
    """A folder that holds this package alone; removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="gpubench-")
    (Path(folder.name) / "gpubench").symlink_to(Path(__file__).resolve().parents[2], target_is_directory=True)
    return folder


def describe_exit(code: int) -> str:
    """`exit status 1`, or the name of the signal that ended a process: `SIGSEGV`."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


class HostPool:
    """The hosts of a round, started when they are needed. `started` is told of each new one.

    At most `limit` live at a time: each holds some hundreds of MB. The one that was used longest ago makes room.
    """

    def __init__(
        self,
        log: Path,
        started: Callable[[Host], None],
        *,
        limit: int = 4,
        start: Callable[[HostKey, Path], Host] = Host,
    ) -> None:
        self._log, self._started, self._limit, self._start = log, started, limit, start
        self._hosts: dict[HostKey, Host] = {}

    def make_room(self, number: int) -> None:
        """For so many hosts at a time: every arm of a comparison needs its own in every round."""
        self._limit = max(self._limit, number)

    def get(self, key: HostKey) -> Host:
        """WorkerError where it cannot be started."""
        host = self._hosts.pop(key, None)
        if host is None:
            while len(self._hosts) >= self._limit:
                self._hosts.pop(next(iter(self._hosts))).end()
            host = self._start(key, self._log)
            self._started(host)
        self._hosts[key] = host
        return host

    def discard(self, host: Host) -> None:
        """A host that broke: it is killed, and the next `get` starts another."""
        if self._hosts.get(host.key) is host:
            del self._hosts[host.key]
        host.kill()

    def close(self) -> None:
        for host in self._hosts.values():
            host.end()
        self._hosts.clear()

    def kill(self) -> None:
        for host in self._hosts.values():
            host.kill()
        self._hosts.clear()


def versions_of(hellos: Mapping[HostKey, Hello]) -> dict[str, str | None]:
    """What the hosts run; where they differ, the versions of each, joined: `2.12.1 | 2.13.0`."""
    merged: dict[str, list[str]] = {}
    for hello in hellos.values():
        for name, value in hello.versions.items():
            known = merged.setdefault(name, [])
            if value is not None and value not in known:
                known.append(value)
    return {name: " | ".join(values) or None for name, values in merged.items()}


def device_index(case: Case) -> int:
    """CUDA's own number of the case's device."""
    return int(case.device.partition(":")[2] or 0)
