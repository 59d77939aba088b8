"""A real worker host, driven by a test as the runner would drive it."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.protocol.messages import End, Job, decode, encode
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure

FAKES = str(Path(__file__).parent)
QUICK = Measure(min_time=0.1, max_time=0.6, min_steps=10, target_rel_ci=0.5)
TIMEOUT_S = 60

NEEDS_TWO_RANKS = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="two ranks need two CPUs, and Linux to fork"
)


class Messages(list):
    """Takes the messages of a job in this process, as a channel would."""

    def send(self, message):
        self.append(message)

    def offer(self, message):
        self.append(message)
        return True


class Running:
    """A job that was sent: its messages, read from its own pipe."""

    def __init__(self, host, job, pipe_fd):
        self.host, self.job = host, job
        self._pipe = os.fdopen(pipe_fd, "rb")
        self.pid = None

    def started(self):
        message = self.host.read()
        assert message.type == "started"
        assert message.job == self.job.job
        self.pid = message.pid
        return message

    def next(self):
        """The next message; None at the end of the pipe."""
        line = self._pipe.readline()
        return decode(line) if line else None

    def until(self, kind, **fields):
        while (message := self.next()) is not None:
            if message.type == kind and all(getattr(message, key) == value for key, value in fields.items()):
                return message
        raise AssertionError(f"the pipe ended without {kind} {fields}")

    def messages(self):
        with self._pipe:
            return [decode(line) for line in self._pipe]

    def exited(self):
        message = self.host.read()
        assert message.type == "exited"
        assert message.job == self.job.job
        return message


class HostUnderTest:
    def __init__(self, folder, modules=(), **environ):
        """`modules` are imported before it forks, as the runner asks for by the cases of a run."""
        self.folder = Path(folder)
        self.log = self.folder / "host.log"
        ours, theirs = socket.socketpair()
        self._socket = ours
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-u",
                    "-m",
                    "gpubench.worker",
                    "--socket-fd",
                    str(theirs.fileno()),
                    "--modules",
                    *modules,
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
            )
        theirs.close()
        self._lines = ours.makefile("rb")
        self._num_jobs = 0
        self.hello = self.read()

    def read(self):
        ready, _, _ = select.select([self._socket], [], [], TIMEOUT_S)
        assert ready or self._lines.peek(1), f"the host said nothing: {self.log.read_text()}"
        line = self._lines.readline()
        assert line, f"the host ended: {self.log.read_text()}"
        return decode(line)

    def send(self, workload="workloads:Sleeper", measure=QUICK, **job):
        self._num_jobs += 1
        fields = {name: job.pop(name) for name in list(job) if name in Case.model_fields}
        job = Job(
            job=self._num_jobs,
            case=Case(workload=workload, **fields),
            measure=measure,
            log=str(self.folder / f"job{self._num_jobs}.log"),
            search_path=(FAKES,),
            **job,
        )
        reader, writer = os.pipe()
        socket.send_fds(self._socket, [encode(job)], [writer])
        os.close(writer)
        return Running(self, job, reader)

    def run(self, workload="workloads:Sleeper", **job):
        """(messages, Exited) of a whole job."""
        running = self.send(workload, **job)
        running.started()
        messages = running.messages()
        return messages, running.exited()

    def log_of(self, number):
        return (self.folder / f"job{number}.log").read_text()

    def end(self):
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(End()))
        return self.process.wait(TIMEOUT_S)

    def hang_up(self):
        self._lines.close()
        self._socket.close()

    def close(self):
        self.hang_up()
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise


def is_alive(pid):
    """Whether there is such a process that is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")
