"""The outcome of a launch: how it ended, what was observed, and the resulting status, reason and findings."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from gpubench.core.errors import StoreError
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Failure, Status
from gpubench.core.units import format_duration
from gpubench.protocol.messages import Failed, Result
from gpubench.runner.launch.job_pipe import describe_exit, explain_exit
from gpubench.store.atomic_files import read_end
from gpubench.telemetry.window.window_figures import TelemetryWindow

_LOG_TAIL_BYTES = 2**16
_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b.*")
_LONGEST_LINE = 300
_NO_SHARED_MEMORY = re.compile(r"shared memory|/dev/shm|\bshm\b")
"""Torch's message in a loader process that cannot hand over a batch; the reader then waits for ever."""


def last_error(log: Path) -> str | None:
    """The last line of a log that names an exception; None without one."""
    try:
        lines = read_end(log, _LOG_TAIL_BYTES)[0].splitlines()
    except (OSError, StoreError):
        return None
    return next((line[:_LONGEST_LINE] for line in reversed(lines) if _ERROR_LINE.match(line)), None)


@dataclass
class LaunchOutcome:
    """A launch from its start to its record. Times in seconds; `hello_s` is the time from the request to the first
    message.

    `Launching` fills in how it ended: `answer` is the child's result or failure (None: it died first), `killed` why
    the parent killed it, `delayed_s` by how much the time limit was moved because the child waited for a CPU,
    `garbage` what it sent that was not a message, `host_lost` how its host ended meanwhile. `Attempts` adds the
    clock, `log` (inside the run folder; None if empty), `log_error` and telemetry. `judge` sets the rest; status
    None: the launch was stopped on request before it had anything to store.
    """

    host_pid: int = 0
    timeout_s: float = 0.0
    delayed_s: float = 0.0
    pid: int | None = None
    isolation: Literal["fork", "fresh"] | None = None
    hello_s: float | None = None
    phase: str = "starting"
    answer: Result | Failed | None = None
    exit_code: int | None = None
    killed: Literal["timeout", "teardown", "stop", "garbage"] | None = None
    asked_to_stop: Literal["stop", "budget"] | None = None
    garbage: str | None = None
    torn: bool = False
    host_lost: str | None = None
    slow_clock: Finding | None = None

    started_unix_s: float = 0.0
    wall_s: float = 0.0
    log: str | None = None
    log_error: str | None = None
    window: TelemetryWindow | None = None
    noticed: tuple[Finding, ...] = ()

    status: Status | None = None
    reason: str | None = None
    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()

    def judge(self) -> Self:
        """Sets status, reason, failure and findings; the figures stay unchanged."""
        self.status, self.reason, self.failure, self.findings = None, None, None, ()
        answer = self.answer
        if isinstance(answer, Result):
            self._measured(answer)
        elif isinstance(answer, Failed):
            self.status, self.reason, self.findings = Status(answer.status), answer.reason, answer.findings
            self.failure = answer.failure and answer.failure.model_copy(update={"log": self.log})
        elif self.killed == "timeout":
            waited = f" and {format_duration(self.delayed_s)} of waiting for a CPU" if self.delayed_s else ""
            reason = f"no result within {format_duration(self.timeout_s)}{waited} (it was in {self.phase})"
            if self.log_error is not None and _NO_SHARED_MEMORY.search(self.log_error):
                reason += ": /dev/shm is too small for the batches that loader processes pass through it"
            if self.log_error is not None:
                reason += f"; the last error in its log: {self.log_error}"
            self._failed(Status.TIMEOUT, "TimeoutError", reason)
        elif self.killed != "stop" and (self.asked_to_stop is None or self.garbage is not None):
            self._died()
        return self

    def _measured(self, answer: Result) -> None:
        """The child gave figures; trouble after that is a finding. If interrupted before the first step there is
        nothing to store.
        """
        if answer.interrupted and answer.series is None and answer.quality is None:
            if self.asked_to_stop is None and not answer.arms:
                reason = f"a signal from outside (SIGTERM) ended the process in {self.phase}, before it had a figure"
                self._failed(Status.FAILED, "Interrupted", reason)
            if self.asked_to_stop is not None or not answer.arms:
                return
        found = [*answer.findings, *([] if self.slow_clock is None else [self.slow_clock])]
        if answer.interrupted:
            causes = {"budget": "the time budget", "stop": "a request to stop", None: "a signal from outside (SIGTERM)"}
            why = causes[self.asked_to_stop]
            found.append(finding("GB104", f"The measurement was ended early by {why}; the steps so far are kept."))
        trouble = None
        if self.killed == "teardown":
            trouble = "did not end by itself and was killed"
        elif self.garbage is not None:
            trouble = f"sent what cannot be a message ({self.garbage})"
        elif self.exit_code and self.killed is None:
            trouble = f"ended with {describe_exit(self.exit_code)}"
        if trouble is not None:
            found.append(finding("GB102", f"After its result the process {trouble}.", exit_code=self.exit_code))
        self.status, self.findings = Status.OK, tuple(found)

    def _died(self) -> None:
        """No answer: it crashed, was killed from outside, or sent garbage."""
        if self.host_lost is not None:
            reason = f"{self.host_lost} while the case was in {self.phase}"
            return self._failed(Status.FAILED, "WorkerLost", reason)
        if self.garbage is not None:
            reason = f"the worker sent what cannot be a message: {self.garbage}"
            return self._failed(Status.FAILED, "ProtocolError", reason)
        how = explain_exit(self.exit_code or 0)
        reason = f"the process ended in {self.phase} without a result ({how})"
        if self.torn:
            reason += "; its last message is torn"
        return self._failed(Status.FAILED, "ProcessDied", reason)

    def _failed(self, status: Status, error: str, reason: str) -> None:
        code = self.exit_code
        self.status, self.reason = status, reason
        self.failure = Failure(
            phase=self.phase,
            error=error,
            message=reason,
            exit_code=code,
            signal=describe_exit(code) if code is not None and code < 0 else None,
            log=self.log,
        )
