"""One process per job: forked from the host, or a fresh interpreter. Each leads its own process group."""

import contextlib
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gpubench.protocol import start_module
from gpubench.protocol.messages import Job, encode
from gpubench.worker.process_lifetime import BOOT_FAILED, die_with, flush_output


@dataclass
class Child:
    """A running job. `pidfd` becomes readable when it ends; None without kernel support, so that `ended` polls."""

    pid: int
    pidfd: int | None
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def of(cls, pid: int, process: "subprocess.Popen[bytes] | None" = None) -> "Child":
        try:
            return cls(pid, os.pidfd_open(pid), process)
        except (AttributeError, OSError):  # not Linux, a kernel before 5.3, or a sandbox that forbids it
            return cls(pid, None, process)

    def ended(self, ready: "Iterable[object]") -> bool:
        """Whether it has ended, given what a selector found ready. It stays a zombie, so that its id is not reused."""
        if self.pidfd is not None:
            return self.pidfd in ready
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """SIGKILL to the whole group, including loader processes."""
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Ends the rest of its group, waits for it, and returns its exit status, negative for a signal."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.pidfd is not None:
            os.close(self.pidfd)
        if self.process is not None:
            self.process.returncode = code  # reaped here; Popen must not wait again
        return code


def fork(job: Job, message_fd: int, *, release: Callable[[], None] = lambda: None) -> Child:
    """A child that runs `job` with the modules of this process; it calls `release` to close the host's handles.

    The child never returns, because it must not run the host's exit handlers.
    """
    parent = os.getpid()
    flush_output()
    pid = os.fork()
    if pid != 0:
        _own_group(pid)
        return Child.of(pid)
    status = BOOT_FAILED
    try:
        _own_group(0)
        die_with(parent)
        release()
        redirect(job.log)
        from gpubench.worker.process.child import main

        main(job, message_fd)
        status = 0
    except BaseException:  # noqa: BLE001 - the log and the exit status show it
        traceback.print_exc()
    finally:
        flush_output()
        os._exit(status)


def fresh(job: Job, message_fd: int, reason: str) -> Child:
    """A new interpreter for `job`, which it reads from a pipe; its output goes to the job's log from the start."""
    reader, writer = os.pipe()
    fds = ["--job-fd", str(reader), "--message-fd", str(message_fd)]
    command = start_module.command("gpubench.worker", "--child", *fds, "--parent", str(os.getpid()), "--reason", reason)
    with open(job.log, "ab") as log:  # noqa: PTH123 - named by the parent; it may not be a regular file
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(reader, message_fd), process_group=0
        )
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe, contextlib.suppress(BrokenPipeError):
        pipe.write(encode(job))
    return Child.of(process.pid, process)


def redirect(log: str) -> None:
    """Redirects stdin to /dev/null, and appends stdout and stderr to `log`, for this process and its children."""
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, fd in enumerate((null, out, out)):
        os.dup2(fd, number)
    os.close(null)
    os.close(out)


def _own_group(pid: int) -> None:
    """Called on both sides of the fork, so that neither has to wait for the other."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)
