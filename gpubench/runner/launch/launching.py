"""One launch as the parent sees it: a job is sent, messages come, and in the end it is known how it ended.

The parent sleeps in a selector: on the host's socket, the child's own pipe and the guard's wake-ups, and once a second
for the live view.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from gpubench.core.errors import WorkerError
from gpubench.protocol.lines import LineBuffer
from gpubench.protocol.messages import Exited, Failed, Hello, Job, Message, Phase, Progress, Result, Started, decode
from gpubench.runner.launch.guard import Guard
from gpubench.runner.launch.worker_hosts import Host

TEARDOWN_S = 10.0
"""A child that has said all it had to say has this long to end."""

KILLED_S = 15.0
"""After SIGKILL the host reports the end at once; a host that does not is broken."""

TICK_S = 1.0

_CHUNK_BYTES = 1 << 20
_CHILD_MESSAGES = (Hello, Phase, Progress, Result, Failed)


@dataclass
class Ending:
    """How a launch ended. `outcome` is its last word, None where it died without one.

    `killed` says why the parent ended it, None where it did not. `garbage` is what came through its pipe and was no
    message, `host_lost` how the host ended under it. Times in seconds; `hello_s` from asking to its first message.
    """

    pid: int | None = None
    isolation: Literal["fork", "fresh"] | None = None
    hello_s: float | None = None
    phase: str = "starting"
    outcome: Result | Failed | None = None
    exit_code: int | None = None
    killed: Literal["timeout", "teardown", "stop", "garbage"] | None = None
    asked_to_stop: Literal["stop", "budget"] | None = None
    garbage: str | None = None
    torn: bool = False
    host_lost: str | None = None


Notify = Callable[[Phase | Progress | None], None]
"""Told of phases and progress, and of None once a second while there is neither."""


class Launching:
    """Runs one job on a host. `deadline_s` is when it is asked to end early, on `time.monotonic()`."""

    def __init__(
        self, host: Host, job: Job, guard: Guard, notify: Notify, *, timeout_s: float, deadline_s: float | None = None
    ) -> None:
        self._host, self._job, self._guard, self._notify = host, job, guard, notify
        self._ending = Ending()
        self._began_s = time.monotonic()
        self._limit_s = self._began_s + timeout_s
        self._deadline_s = deadline_s
        self._lines = LineBuffer()
        self._seen_requests = 0
        self._pipe_open = False

    def run(self) -> Ending:
        """Returns when the child is gone, or the host is. Raises nothing that a child or a host does."""
        reader, writer = os.pipe()
        try:
            try:
                self._host.send(self._job, writer)
            except WorkerError as error:
                self._ending.host_lost = str(error)
                return self._ending
            finally:
                os.close(writer)
            os.set_blocking(reader, False)
            self._pipe_open = True
            with self._selector(reader) as selector:
                self._wait(selector, reader)
            self._drain(reader)
        finally:
            os.close(reader)
        return self._ending

    @contextlib.contextmanager
    def _selector(self, reader: int) -> Iterator[selectors.BaseSelector]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._host.socket, selectors.EVENT_READ, "host")
            selector.register(reader, selectors.EVENT_READ, "pipe")
            selector.register(self._guard.fd, selectors.EVENT_READ, "guard")
            yield selector

    def _wait(self, selector: selectors.BaseSelector, reader: int) -> None:
        ending = self._ending
        while ending.exit_code is None and ending.host_lost is None:
            ready = {key.data for key, _ in selector.select(self._patience())}
            if "guard" in ready:
                self._guard.drain()
            if "pipe" in ready and not self._read_pipe(reader):
                selector.unregister(reader)
            if "host" in ready:
                self._read_host()
            self._obey()
            if not ready:
                self._notify(None)

    def _patience(self) -> float:
        return max(0.0, min(TICK_S, self._limit_s - time.monotonic()))

    def _obey(self) -> None:
        """Requests to stop and time limits."""
        now = time.monotonic()
        if self._guard.requests > self._seen_requests:
            self._seen_requests = self._guard.requests
            if self._guard.now:
                self._kill("stop")
            else:
                self._ask("stop")
        if self._deadline_s is not None and now >= self._deadline_s and self._ending.asked_to_stop is None:
            self._ask("budget")
        if now >= self._limit_s:
            self._over_time()

    def _over_time(self) -> None:
        if self._ending.killed is not None:
            # It was killed, and its host has not said so: nothing more can be expected of this host.
            self._host.kill()
            self._ending.host_lost = f"worker host {self._host.pid} did not answer"
        else:
            self._kill("timeout" if self._ending.outcome is None else "teardown")

    def _ask(self, why: Literal["stop", "budget"]) -> None:
        """SIGTERM: the child finishes its step and sends what it has."""
        self._ending.asked_to_stop = why
        if self._ending.pid is not None and self._ending.outcome is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._ending.pid, signal.SIGTERM)

    def _kill(self, why: Literal["timeout", "teardown", "stop", "garbage"]) -> None:
        self._ending.killed = self._ending.killed or why
        self._limit_s = time.monotonic() + KILLED_S
        if self._ending.pid is not None and self._ending.exit_code is None:
            for end in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    end(self._ending.pid, signal.SIGKILL)

    def _read_host(self) -> None:
        try:
            messages = self._host.read()
        except ValueError as error:
            self._host.kill()
            self._ending.host_lost = f"worker host {self._host.pid} sent what is no message ({_first_line(error)})"
            return
        if messages is None:
            self._ending.host_lost = self._host.obituary()
        for message in messages or ():
            self._take_from_host(message)

    def _take_from_host(self, message: Message) -> None:
        if isinstance(message, Started) and message.job == self._job.job:
            self._ending.pid, self._ending.isolation = message.pid, message.isolation
            if self._ending.killed is not None:
                self._kill(self._ending.killed)
            elif self._ending.asked_to_stop is not None:
                self._ask(self._ending.asked_to_stop)
        elif isinstance(message, Exited) and message.job == self._job.job:
            self._ending.exit_code = message.exit_code

    def _read_pipe(self, reader: int) -> bool:
        """Takes in what the child sent; False at the end of its pipe."""
        try:
            chunk = os.read(reader, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not chunk:
            self._pipe_open = False
            return False
        self._accept(chunk)
        return True

    def _accept(self, chunk: bytes) -> None:
        """After the first piece of garbage nothing of this child is believed, and it is ended."""
        if self._ending.garbage is not None:
            return
        try:
            for line in self._lines.feed(chunk):
                self._take(decode(line))
        except ValueError as error:
            self._ending.garbage = _first_line(error)
            self._kill("garbage")

    def _take(self, message: Message) -> None:
        ending = self._ending
        if not isinstance(message, _CHILD_MESSAGES):
            raise ValueError(f"a child does not send {message.type!r}")
        if isinstance(message, Hello):
            ending.hello_s = time.monotonic() - self._began_s
        elif isinstance(message, Phase):
            ending.phase = message.name
            self._notify(message)
        elif isinstance(message, Progress):
            self._notify(message)
        elif ending.outcome is None:
            ending.outcome = message
            self._limit_s = min(self._limit_s, time.monotonic() + TEARDOWN_S)

    def _drain(self, reader: int) -> None:
        """What was still in the pipe when the child had gone. Does not wait: a process it left may hold the pipe open."""
        with contextlib.suppress(BlockingIOError):
            while self._pipe_open and (chunk := os.read(reader, _CHUNK_BYTES)):
                self._accept(chunk)
        self._ending.torn = bool(self._lines.rest)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
