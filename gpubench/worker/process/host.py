"""The worker's host: imports once what jobs need, never touches CUDA, and makes one process per job.

It waits on two file descriptors, the parent's socket and the child's pidfd, and does nothing in between. It runs no
torch operation and starts no thread, because a forked child inherits neither. When the parent is gone, it ends its
child and then itself.
"""

import contextlib
import gc
import importlib
import os
import platform
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from gpubench.core import process_tree
from gpubench.core.collect_later import no_collection
from gpubench.protocol.host_modules import ALWAYS
from gpubench.protocol.messages import End, Exited, Hello, Job, LineBuffer, Message, Started, decode, encode
from gpubench.worker import process_lifetime
from gpubench.worker.process import device_query, spawn

_CHUNK_BYTES = 65536
_POLL_S = 0.05

PROFILED = ("NSYS_PROFILING_SESSION_ID", "NVTX_INJECTION64_PATH", "CUDA_INJECTION64_PATH")
"""Set by profilers, which lose a child that is forked without exec."""


def why_not_fork(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why each job gets a fresh process instead of a fork, or None."""
    if not process_lifetime.CAN_FORK:
        return "this system cannot fork a process that has loaded torch"
    name = next((name for name in PROFILED if environ.get(name)), None)
    return None if name is None else f"a profiler watches this run ({name} is set) and does not follow a fork"


class ParentGone(Exception):  # noqa: N818 - the usual end of a host
    """The other end of the socket was closed."""


class JobServer:
    """Serves one parent over `connection` until it says `end` or is gone."""

    def __init__(self, connection: socket.socket, no_fork: str | None) -> None:
        self._connection, self._no_fork = connection, no_fork
        self._lines = LineBuffer()
        self._fds: deque[int] = deque()
        self._waiting: deque[tuple[Job, int]] = deque()
        self._child: spawn.Child | None = None
        self._job = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)

    def serve(self) -> None:
        """Returns when there is nothing more to do; a running child is then ended too."""
        try:
            while True:
                self._start_next()
                # Waits for ever, unless a child must be polled because the kernel has no pidfd.
                polls = self._child is not None and self._child.pidfd is None
                ready = {key.fileobj for key, _ in self._selector.select(_POLL_S if polls else None)}
                if self._child is not None and self._child.ended(ready):
                    self._reap(self._child)
                if self._connection in ready and self._read():
                    return
        except ParentGone:
            return
        finally:
            if self._child is not None:
                self._child.kill()
                self._child.reap()
                if self._no_fork is None:
                    process_tree.end_orphans()

    def _read(self) -> bool:
        """Handles the parent's messages; True if one was `end`."""
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, fds, _, _ = socket.recv_fds(self._connection, _CHUNK_BYTES, 1, flags)
        except ConnectionResetError as error:
            raise ParentGone from error
        if not data:
            raise ParentGone
        self._fds.extend(fds)
        for message in map(decode, self._lines.feed(data)):
            if isinstance(message, End):
                return True
            if isinstance(message, Job):
                if not self._fds:
                    raise ValueError(f"job {message.job} came without its message pipe")
                self._waiting.append((message, self._fds.popleft()))
        return False

    def _start_next(self) -> None:
        if self._child is not None or not self._waiting:
            return
        job, fd = self._waiting.popleft()
        try:
            if self._no_fork is not None:
                self._child = spawn.fresh(job, fd, self._no_fork)
            else:
                self._child = spawn.fork(job, fd, release=self._release)
        finally:
            os.close(fd)
        if self._child.pidfd is not None:
            self._selector.register(self._child.pidfd, selectors.EVENT_READ)
        self._job = job.job
        self._send(Started(job=job.job, pid=self._child.pid, isolation="fresh" if self._no_fork else "fork"))

    def _release(self) -> None:
        """Called in a child, to close the host's socket and selector."""
        self._connection.close()
        self._selector.close()

    def _reap(self, child: spawn.Child) -> None:
        if child.pidfd is not None:
            self._selector.unregister(child.pidfd)
        code = child.reap()
        if self._no_fork is None:  # a profiler's processes may be among them
            process_tree.end_orphans()
        self._child = None
        self._send(Exited(job=self._job, pid=child.pid, exit_code=code))

    def _send(self, message: Message) -> None:
        try:
            self._connection.sendall(encode(message))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ParentGone from error


def preload(modules: Sequence[str]) -> None:
    """Imports modules that children need. Some ask for CUDA when they are imported."""
    with device_query.untouched():
        for name in modules:
            importlib.import_module(name)


def hello(*, can_fork: bool) -> Hello:
    """The host's first message: versions, CUDA devices, and why there are none."""
    import torch

    from gpubench.machine.installed_software import installed
    from gpubench.worker.accelerator import software

    found = device_query.ask_in_child(torch) if can_fork else device_query.ask_in_program()
    return Hello(
        pid=os.getpid(),
        role="host",
        python=sys.executable,
        versions={
            "gpubench": installed("gpubench"),
            "python": platform.python_version(),
            **software(torch, found.cudnn),
            "numpy": installed("numpy"),
            "nvtx": installed("nvtx"),
        },
        devices=found.devices,
        can_fork=can_fork,
        cuda_unavailable=found.unavailable,
    )


def main(socket_fd: int, modules: Sequence[str] = ()) -> int:
    """Prepares this process, says hello on the socket with this number, and serves it to the end. Exit status 0.

    `modules` are imported first, besides those that every job needs; without fork only torch, as a fresh process does
    its own imports.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent decides what happens to a child
    no_fork = why_not_fork()
    if no_fork is None:
        process_tree.adopt_orphans()
    with contextlib.closing(socket.socket(fileno=socket_fd)) as connection:
        connection.set_inheritable(False)
        with no_collection():  # a fifth of the time that the imports take
            preload((*ALWAYS, *modules) if no_fork is None else ALWAYS[:1])
        greeting = hello(can_fork=no_fork is None)
        gc.freeze()  # keeps memory shared with children from being touched by their garbage collection
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(encode(greeting))
            JobServer(connection, no_fork).serve()
    return 0
