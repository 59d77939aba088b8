"""Runs any program once: its time, memory and exit status. The program keeps its standard streams; what several runs of
one read from is shared.
"""

import errno
import os
import resource
import select
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from gpubench.core.errors import UsageError
from gpubench.core.process_tree import PROC, adopt_orphans, descendants, size_of

_STDIN = 0
SAMPLE_S = 0.02
_MOST_SHARE = 0.05
"""Share of one CPU for reading memory; many or large processes are read less often."""

_FROM_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""Signals that a terminal sends to the whole foreground group, including the program."""

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, *_FROM_THE_TERMINAL)

_PEAK_ERROR = 1.01
"""The kernel counts resident pages per thread, and adds them up now and then."""

_NOT_STARTED = {
    errno.ENOEXEC: "A script needs a first line such as `#!/bin/sh`; without one, name its shell: sh FILE.",
    errno.ENOENT: "Does the program exist that its first line (`#!...`) or its loader names?",
}


@dataclass(frozen=True)
class ProgramRun:
    """One run of a program. Units: seconds, bytes; `start_s` and `end_s` of CLOCK_MONOTONIC.

    `returncode` as in `subprocess`: negative for the signal that ended it. CPU times cover the program, children it
    waited for, and orphans that have ended. `peak_memory_bytes` is the largest sum over all its processes in any
    reading; pages that processes share count once. `largest_process_bytes` is the peak of the largest process. What
    could not be measured is None, and `absent` says why under the same name. `left_running` counts processes that still
    run; `interrupted`: SIGINT or SIGTERM reached gpubench meanwhile.
    """

    start_s: float
    end_s: float
    returncode: int
    user_s: float
    system_s: float
    peak_memory_bytes: int | None
    largest_process_bytes: int | None
    num_processes: int
    left_running: int
    interrupted: bool
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def exit_status(self) -> int:
        """As a shell reports it: 128 + n after signal n."""
        return self.returncode if self.returncode >= 0 else 128 - self.returncode


def find_program(command: Sequence[str]) -> str:
    """The path of the program. ProgramStartError (status 127 or 126, as in a shell) if it cannot be started."""
    found = shutil.which(command[0])
    if found is not None:
        return found
    if os.sep in command[0] and Path(command[0]).exists():
        raise ProgramStartError(f"{command[0]} is not an executable file", 126, hint="Does it need `chmod +x`?")
    hint = "A command of the shell needs one: gpubench stat -- sh -c '...'." if " " not in command[0] else ""
    raise ProgramStartError(f"there is no program {command[0]!r}", 127, hint=hint or "Write its arguments as words.")


class ProgramStartError(UsageError):
    """The program cannot be started; `exit_status` is the one a shell would give."""

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_status = status


def run_program(command: Sequence[str], environ: Mapping[str, str], *, stdout: int | None = None) -> ProgramRun:
    """Run `command` to its end. ProgramStartError if it cannot be started.

    SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT and SIGQUIT go to the program, which decides what they mean.
    """
    path = find_program(command)
    adopt_orphans()
    memory = TreeMemory(but=descendants())
    before = _children_usage()
    with _signals_passed_on() as passed:
        start_s = time.monotonic()
        try:
            # Without closing descriptors subprocess can use vfork, which saves 1 ms.
            process = subprocess.Popen(
                list(command), executable=path, env=dict(environ), stdout=stdout, close_fds=False
            )
        except OSError as error:
            why = f"{path} cannot be started: {error.strerror}"
            raise ProgramStartError(why, 126, hint=_NOT_STARTED.get(error.errno or 0, "")) from error
        passed.start_with(process.pid)
        memory.start()
        _, status, usage = os.wait4(process.pid, 0)
        end_s = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
    memory.stop()
    left_running = len(memory.of_the_program(_reap_orphans()))
    after = _children_usage()
    # On Linux the program inherits the peak of the process that forked it: up to that the figure is meaningless.
    inherited = (size_of(PROC / "self", "VmHWM") or 0) * _PEAK_ERROR
    largest = usage.ru_maxrss * 1024 if usage.ru_maxrss * 1024 > inherited else memory.largest_bytes
    peak = _larger(memory.peak_bytes, largest)
    why = "it ended before its memory could be read" if PROC.exists() else "this system has no /proc"
    return ProgramRun(
        start_s,
        end_s,
        process.returncode,
        after[0] - before[0],
        after[1] - before[1],
        peak,
        largest,
        memory.num_processes,
        left_running,
        passed.interrupted,
        {name: why for name, each in (("peak_memory_bytes", peak), ("largest_process_bytes", largest)) if each is None},
    )


class TreeMemory:
    """Reads the memory of all descendants of this process, except `but`, until stopped. Bytes; None without a reading.

    A single process is read by its resident size. Several processes share pages, especially after a fork, so they are
    read by their proportional size (PSS, proc(5)), which counts a page once.
    """

    def __init__(self, but: Sequence[int] = ()) -> None:
        self.peak_bytes: int | None = None
        self.largest_bytes: int | None = None
        self.num_processes = 1
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory of the program", daemon=True)
        self._seen: set[int] = set()
        self._but = frozenset(but)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def of_the_program(self, pids: Sequence[int]) -> list[int]:
        return [pid for pid in pids if pid not in self._but]

    def _sample(self) -> None:
        while True:
            start_s = time.thread_time()
            self.take(self.of_the_program(descendants()))
            if self._ending.wait(max(SAMPLE_S, (time.thread_time() - start_s) / _MOST_SHARE)):
                return

    def take(self, pids: Sequence[int]) -> None:
        """One reading."""
        self._seen.update(pids)
        self.num_processes = max(1, len(self._seen))
        total = tree_bytes(pids)
        largest = max((peak for pid in pids if (peak := size_of(PROC / str(pid), "VmHWM"))), default=None)
        self.peak_bytes = _larger(self.peak_bytes, total)
        self.largest_bytes = _larger(self.largest_bytes, largest)


def tree_bytes(pids: Sequence[int]) -> int | None:
    """Memory of processes, counting shared pages once; None if none can be read. Units: bytes."""
    folders = [PROC / str(pid) for pid in pids]
    if len(folders) == 1:
        return size_of(folders[0], "VmRSS")
    # PSS is missing for other users' processes, and before Linux 4.14.
    found = [size_of(folder, "Pss", "smaps_rollup") or size_of(folder, "VmRSS") for folder in folders]
    known = [each for each in found if each is not None]
    return sum(known) if known else None


def _larger(first: int | None, second: int | None) -> int | None:
    return max((each for each in (first, second) if each is not None), default=None)


def _children_usage() -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime


def _reap_orphans() -> list[int]:
    """Reaps orphans that have ended, so that their CPU time counts. Returns those that still run."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return descendants()


class _PassedOn:
    """Passes signals on to the program; those that arrive during its start, after it."""

    def __init__(self) -> None:
        self.interrupted = False
        self._pid: int | None = None
        self._early: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.interrupted |= number in (signal.SIGINT, signal.SIGTERM)
        if number in _FROM_THE_TERMINAL and _in_foreground():
            return
        if self._pid is None:
            self._early.append(number)
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def start_with(self, pid: int) -> None:
        self._pid = pid
        for number in self._early:
            self(number, None)


def _in_foreground() -> bool:
    """Whether a signal from the terminal reaches the program anyway."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def _signals_passed_on() -> Iterator[_PassedOn]:
    """Installs the handlers, which a program, unlike ignored signals, does not inherit. Signals ignored before stay
    ignored.
    """
    passed = _PassedOn()
    wanted = [each for each in _PASSED_ON if signal.getsignal(each) is not signal.SIG_IGN]
    usual = {each: signal.signal(each, passed) for each in wanted}
    try:
        yield passed
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


class SharedInput:
    """What all runs of a program read from. A file is read from the same place by each run; a pipe gives its content to
    the first run that reads, and the next ones would do other work.
    """

    def __init__(self) -> None:
        self._start: int | None = None
        self._is_pipe = False
        try:
            mode = os.fstat(_STDIN).st_mode
            self._is_pipe = stat.S_ISFIFO(mode)
            self._start = os.lseek(_STDIN, 0, os.SEEK_CUR) if stat.S_ISREG(mode) else None
        except OSError:  # closed
            pass
        self._was_empty = self._is_pipe and self._at_end()

    def rewind(self) -> None:
        """Before a run: back to where the first one began, if this is a file."""
        if self._start is not None:
            os.lseek(_STDIN, self._start, os.SEEK_SET)

    @property
    def is_spent(self) -> bool:
        """Whether this is a pipe whose content has been read to its end, so that another run finds nothing in it."""
        return self._is_pipe and not self._was_empty and self._at_end()

    def _at_end(self) -> bool:
        poll = select.poll()
        poll.register(_STDIN, select.POLLIN)
        events = dict(poll.poll(0)).get(_STDIN, 0)
        return bool(events & select.POLLHUP) and not events & select.POLLIN
