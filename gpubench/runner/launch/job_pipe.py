"""What the parent receives: from a host through its socket, and from a job's child through the job's own pipe."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
from typing import NamedTuple, Self

from pydantic import ValidationError

from gpubench.core.errors import WorkerError
from gpubench.protocol.messages import (
    Exited,
    Failed,
    Hello,
    Job,
    LineBuffer,
    Meeting,
    Message,
    Phase,
    Progress,
    Result,
    Started,
    decode,
    encode,
)

_CHUNK_BYTES = 1 << 20
END_TIMEOUT_S = 5.0


_EXPLAINED = {
    "SIGKILL": ": killed from outside, as the kernel does when memory runs out",
    "SIGSEGV": ": a crash in native code",
    "SIGBUS": ": a crash in native code, or no room in /dev/shm",
    "SIGABRT": ": native code gave up",
}


class Garbage(NamedTuple):
    """Something from a child's pipe that is not a message."""

    why: str


class HostLost(NamedTuple):
    """How a host ended."""

    why: str


FromChild = Hello | Meeting | Phase | Progress | Result | Failed
Heard = FromChild | Started | Exited | Garbage | HostLost


class HostProcess:
    """A process in its own group, and our end of its socket."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self._process, self.socket, self._lines = process, connection, LineBuffer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, job: Job, wake_fd: int) -> "JobPipe":
        """Hands over a job. A write to `wake_fd` ends a wait. WorkerError if the host is gone."""
        return JobPipe(self, job, wake_fd)

    def read(self) -> list[Message] | None:
        """The messages that have arrived; None if the host has ended. Call when the socket is readable.

        ValueError for anything that is not a message.
        """
        try:
            chunk = self.socket.recv(_CHUNK_BYTES)
        except ConnectionResetError:
            return None
        return [decode(line) for line in self._lines.feed(chunk)] if chunk else None

    def obituary(self) -> str:
        """How the host ended, in words."""
        try:
            return f"worker host {self.pid} ended ({describe_exit(self._process.wait(END_TIMEOUT_S))})"
        except subprocess.TimeoutExpired:
            return f"worker host {self.pid} closed its connection"

    def kill(self) -> None:
        """Kills the host, and with it its child, which the kernel kills when its host dies."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.socket.close()


class JobPipe:
    """A job on a host: the messages of its child, and the host's about it. A context manager."""

    def __init__(self, host: HostProcess, job: Job, wake_fd: int) -> None:
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
        self._selector = selectors.DefaultSelector()
        for source in (self._reader, host.socket, wake_fd):
            self._selector.register(source, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        os.close(self._reader)

    def wait(self, timeout_s: float) -> list[Heard] | None:
        """New messages, the child's first; None if nothing happened in time."""
        ready = {key.fileobj for key, _ in self._selector.select(timeout_s)}
        if not ready:
            return None
        heard: list[Heard] = []
        if self._reader in ready and self._hear_child(heard) == "end":
            self._selector.unregister(self._reader)
        if self._host.socket in ready:
            try:
                messages = self._host.read()
            except ValueError as error:
                self._host.kill()
                heard.append(
                    HostLost(
                        f"worker host {self._host.pid} sent something that is not a message ({why_no_message(error)})"
                    )
                )
                return heard
            if messages is None:
                heard.append(HostLost(self._host.obituary()))
            mine = (each for each in messages or () if isinstance(each, Started | Exited) and each.job == self._job.job)
            heard += mine
        return heard

    def rest(self) -> tuple[list[Heard], bool]:
        """The messages left in the child's pipe, and whether the last one is torn.

        Does not wait for the end of the pipe, which a process left by the child may hold open.
        """
        heard: list[Heard] = []
        while self._hear_child(heard) == "more":
            pass
        return heard, bool(self._lines.rest)

    def _hear_child(self, heard: list[Heard]) -> str:
        """Reads one chunk: `more` may follow, there is `nothing` now, or it was the `end` of the pipe."""
        try:
            chunk = os.read(self._reader, _CHUNK_BYTES)
        except BlockingIOError:
            return "nothing"
        try:
            for message in map(decode, self._lines.feed(chunk)):
                if isinstance(message, FromChild):
                    heard.append(message)
                else:
                    heard.append(Garbage(f"a child does not send {message.type!r}"))
        except ValueError as error:
            heard.append(Garbage(why_no_message(error)))
        return "more" if chunk else "end"


def why_no_message(error: ValueError) -> str:
    """The first error, with its place in the message."""
    if not isinstance(error, ValidationError):
        return str(error)[:200]
    found = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, found["loc"])), found["msg"])))[:200]


def describe_exit(code: int) -> str:
    """`exit status 1`, or the name of the signal that ended a process: `SIGSEGV`."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def explain_exit(code: int) -> str:
    """`describe_exit` with what such an end usually means."""
    how = describe_exit(code)
    return how + _EXPLAINED.get(how, "")
