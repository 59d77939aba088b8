"""A job while it runs: where its messages go, whether it was told to stop, and its state."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Protocol

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective
from gpubench.protocol.messages import Job, Message, Phase

TIMED_PHASES = frozenset({"measuring", "training"})


class Sender(Protocol):
    """Where messages go: a `Channel`, or a list in a test."""

    def send(self, message: Message) -> None: ...

    def offer(self, message: Message) -> bool: ...


class Interrupted(Exception):  # noqa: N818 - it was asked for
    """The job was told to stop before it had anything to show."""


class Stop:
    """Whether the job was asked to end early. The running step is always finished."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def listen(self) -> None:
        """SIGTERM asks. Processes that a workload forks get the signal's usual meaning back: it ends them."""

        def request(*_: object) -> None:
            self.requested = True

        signal.signal(signal.SIGTERM, request)
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class RunningJob:
    """The state of a running job: its phase, the settings read back, findings and marks."""

    def __init__(self, job: Job, sender: Sender, stop: Stop, *, no_fork: str | None = None) -> None:
        self.job, self.sender, self.stop = job, sender, stop
        self.phase = "starting"
        self.effective: Effective | None = None
        self.findings: list[Finding] = []
        self.marks: dict[str, tuple[float, ...]] = {}
        self.peaks: dict[str, int] = {}
        self._entered_s = time.monotonic()
        self._log_bytes = _size(job.log)
        if no_fork is not None:
            self.findings.append(finding("GB101", f"The case ran in a fresh process: {no_fork}."))

    def enter(self, phase: str) -> None:
        """Tells the parent where the job is, and marks the edges of the phase before on `time.monotonic()`."""
        now = time.monotonic()
        self._leave(now)
        self.phase, self._entered_s = phase, now
        self.sender.send(Phase(name=phase, at_s=now))

    def _leave(self, now: float) -> None:
        if self.phase != "starting":
            self.marks[f"phase_{self.phase}_s"] = (self._entered_s, now)

    def finish(self) -> tuple[Finding, ...]:
        """Closes the last phase; every finding, with GB103 if anything was written to the log."""
        self._leave(time.monotonic())
        sys.stdout.flush()
        sys.stderr.flush()
        written = _size(self.job.log) - self._log_bytes
        if written > 0:
            self.findings.append(
                finding(
                    "GB103", f"The workload, or a library it uses, wrote {written} bytes to its log.", num_bytes=written
                )
            )
        return tuple(self.findings)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
