"""A running job: its messages, requests to stop, and its state."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective
from gpubench.protocol.messages import Job, Message, Phase
from gpubench.stats.stopping_rule import StoppingRule
from gpubench.suite.model.case import Case
from gpubench.worker.process_lifetime import flush_output

Step = Callable[[], object]

TIMED_PHASES = frozenset({"measuring", "training"})


class Sender(Protocol):
    """Where messages go: a `Channel`, or a list in a test."""

    def send(self, message: Message) -> None: ...

    def offer(self, message: Message) -> bool: ...


class Interrupted(Exception):  # noqa: N818 - requested, not an error
    """The job was told to stop before it had a result."""


class Stop:
    """Whether the job was asked to end early. The running step is always finished."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def listen(self) -> None:
        """Makes SIGTERM a request. In processes that a workload forks, the signal ends them as usual."""

        def request(*_: object) -> None:
            self.requested = True

        signal.signal(signal.SIGTERM, request)
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class Alone:
    """The one-process version of what several ranks do together (`ranks.rank.Together`)."""

    several = False

    def agree(self, value: Any) -> Any:
        """The first rank's `value`. Every rank must call it, between steps."""
        return value

    def rule(self, rule: StoppingRule, group_s: float) -> StoppingRule:  # noqa: ARG002 - ranks use it
        """The rule that ends the measurement, for all ranks after the same step. `group_s`: about how long a group of
        steps takes.
        """
        return rule

    def take_in(self, workload: Any, case: Case) -> None:
        """Called before the build: prepares a workload to be one of several. Unsupported if it cannot be."""

    def watched(self, step: Step) -> Step:
        """The step, wrapped so that its progress can be seen from outside."""
        return step

    def checks_output(self, workload: Any) -> bool:  # noqa: ARG002
        """Whether this process compares the workload's output with fp64."""
        return True

    def compare(
        self,
        launch: "RunningJob",  # noqa: ARG002
        workload: Any,  # noqa: ARG002
        case: Case,  # noqa: ARG002
        device: Any,  # noqa: ARG002
    ) -> tuple[dict[str, float | None], dict[str, str]]:
        """Called after the workload is closed: metrics of the difference between several ranks and one."""
        return {}, {}

    def figures(
        self,
        workload: Any,  # noqa: ARG002 - ranks use them
        step: Step,  # noqa: ARG002
        metrics: Mapping[str, float | None],  # noqa: ARG002
        case: Case,  # noqa: ARG002
    ) -> tuple[dict[str, float | None], dict[str, str]]:
        """More metrics, and why some are absent, from steps after the measured ones."""
        return {}, {}


class RunningJob:
    """The state of a running job: its phase, the settings read back, findings and marks."""

    def __init__(
        self, job: Job, sender: Sender, stop: Stop, *, no_fork: str | None = None, together: Alone | None = None
    ) -> None:
        self.job, self.sender, self.stop = job, sender, stop
        self.together = together or Alone()
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
        """Reports the phase to the parent, and marks the edges of the previous one on `time.monotonic()`."""
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
        flush_output()
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
