"""One job on a host, with everything around it: telemetry, the log, the clock, and news for whoever listens."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpubench.core.findings import Finding
from gpubench.protocol.messages import Job, Phase, Progress, Result
from gpubench.runner.events import LaunchPhase, LaunchProgress, Listener, Notice
from gpubench.runner.launch.guard import Guard
from gpubench.runner.launch.launching import Ending, Launching
from gpubench.runner.launch.outcome import Meaning, meaning
from gpubench.runner.launch.recorder import Clocked
from gpubench.runner.launch.worker_hosts import Host, device_index
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.case import Case
from gpubench.telemetry.run_telemetry import TelemetrySession
from gpubench.telemetry.window.telemetry_window import TelemetryWindow


@dataclass(frozen=True)
class Limits:
    """`timeout_s` ends a launch; at `deadline_s` (`time.monotonic()`) the time budget of the run is used up."""

    timeout_s: float
    deadline_s: float | None = None

    @property
    def used_up(self) -> bool:
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s


@dataclass(frozen=True)
class Attempted:
    """How a job ended, what that means, and what was seen of the machine meanwhile. `log` is kept at this path, if it
    is.
    """

    ending: Ending
    means: Meaning
    clocked: Clocked
    window: TelemetryWindow | None
    findings: tuple[Finding, ...]
    log: str | None


class Attempts:
    """Runs jobs, one at a time. Raises nothing that a worker does."""

    def __init__(
        self, writer: RunWriter, telemetry: TelemetrySession, guard: Guard, listener: Listener, limits: Limits
    ) -> None:
        self._writer, self._telemetry, self._guard, self._tell = writer, telemetry, guard, listener
        self._limits = limits
        self._num_jobs = 0
        self._num_requests = 0

    def next_number(self) -> int:
        self._num_jobs += 1
        return self._num_jobs

    def run(self, host: Host, job: Job, *, times: int = 1) -> Attempted:
        """`times` the usual limit: a job that holds several launches takes as long as they."""
        Path(job.log).parent.mkdir(parents=True, exist_ok=True)  # an attempt before may have left nothing in it
        self._telemetry.track(_device_of(job.case, host))
        self._telemetry.before_launch()
        started_unix_s, began_s = time.time(), time.monotonic()
        timeout_s = self._limits.timeout_s * times
        ending = Launching(
            host, job, self._guard, self._notify(job), timeout_s=timeout_s, deadline_s=self._limits.deadline_s
        ).run()
        clocked = Clocked(started_unix_s, time.monotonic() - began_s)
        window = self._window(ending)
        extra = self._telemetry.after_launch()
        self.say_if_stopping()
        log = self._keep_log(Path(job.log))
        return Attempted(ending, meaning(ending, timeout_s=timeout_s, log=log), clocked, window, extra, log)

    def say_if_stopping(self) -> None:
        if self._guard.requests > self._num_requests:
            first, self._num_requests = self._num_requests == 0, self._guard.requests
            if first:
                self._tell(Notice("stopping: the running step is finished and stored", "Ctrl-C again stops at once."))

    def _notify(self, job: Job) -> Callable[[Phase | Progress | None], None]:
        last: list[Progress] = [Progress(num_steps=0)]

        def notify(message: Phase | Progress | None) -> None:
            self.say_if_stopping()
            if isinstance(message, Phase):
                self._telemetry.phase(message.name)
                last[0] = Progress(num_steps=0)
                self._tell(LaunchPhase(message.name))
                return
            last[0] = message or last[0]
            said = last[0]
            self._tell(
                LaunchProgress(
                    said.num_steps,
                    said.step_time_s,
                    said.rel_half_width,
                    job.measure.target_rel_ci,
                    said.fraction,
                    self._telemetry.live(),
                )
            )

        return notify

    def _window(self, ending: Ending) -> TelemetryWindow | None:
        """Telemetry between the edges of the steady steps, as the worker saw them."""
        outcome = ending.outcome
        if not isinstance(outcome, Result) or outcome.window is None or outcome.window.duration_s <= 0:
            return None
        window = outcome.window
        idle = outcome.marks.get("idle_s")
        return self._telemetry.window(
            window.start_s, window.end_s, window.num_samples, idle=(idle[0], idle[1]) if idle else None
        )

    def _keep_log(self, log: Path) -> str | None:
        """Its path inside the run folder; an empty one is removed."""
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > 0:
                inside = log.relative_to(self._writer.folder.resolve())  # a worker knows its log by the whole path
                return self._writer.relative(self._writer.folder / inside)
            log.unlink()
        with contextlib.suppress(OSError):
            log.parent.rmdir()  # where other launches of the case left something, it stays
        return None


def _device_of(case: Case, host: Host) -> Mapping[str, object] | None:
    """The CUDA device as the host named it; None for the CPU."""
    if case.device_type != "cuda":
        return None
    index = device_index(case)
    return next((device for device in host.hello.devices if device.get("index") == index), None)
