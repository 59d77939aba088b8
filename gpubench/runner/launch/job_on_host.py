"""One launch as the parent sees it: sends a job, receives messages, and finds out how it ended.

The parent sleeps until the child, its host or the guard wakes it, and once a second for the live view.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gpubench.core.errors import WorkerError
from gpubench.protocol.messages import Exited, Hello, Job, Meeting, Phase, Progress, Result, Started
from gpubench.runner.launch import check_message
from gpubench.runner.launch.clock_lag import ClockLag
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.job_pipe import Garbage, Heard, HostLost
from gpubench.runner.launch.outcome import LaunchOutcome
from gpubench.runner.launch.worker_hosts import AnyHost

TEARDOWN_S = 10.0
"""How long a child may take to exit after its last message."""

KILLED_S = 15.0
"""How long a host may take to report a killed child; one that takes longer is broken."""

TICK_S = 1.0

UNFINISHED = ("starting", "searching", "build", "warmup", "measuring")
"""Phases in which no job is done: a result then is not from the code that measures."""

Notify = Callable[[Phase | Progress | None], None]
"""Called with phases and progress, and with None once a second if there is neither."""


@dataclass(frozen=True)
class Limits:
    """`timeout_s` ends a launch, not counting time for which it waited for a CPU. At `deadline_s` (seconds of `clock`)
    the run's time budget is used up.
    """

    timeout_s: float
    deadline_s: float | None = None
    clock: Callable[[], float] = time.monotonic

    @property
    def used_up(self) -> bool:
        return self.left_s is not None and self.left_s <= 0

    @property
    def left_s(self) -> float | None:
        """Seconds left of the budget; None without one."""
        return None if self.deadline_s is None else self.deadline_s - self.clock()


class Launching:
    """Runs one job on a host within `limits`; `times` multiplies the timeout of a job that stands for several
    launches.
    """

    def __init__(
        self, host: AnyHost, job: Job, guard: Guard, notify: Notify, limits: Limits, *, times: int = 1
    ) -> None:
        self._host, self._job, self._guard, self._notify = host, job, guard, notify
        self._clock, self._deadline_s = limits.clock, limits.deadline_s
        self._began_s = self._clock()
        times *= 1 if job.seats is None else host.turns
        self._outcome = LaunchOutcome(host_pid=host.pid, timeout_s=limits.timeout_s * times)
        self._limit_s = self._began_s + self._outcome.timeout_s
        self._seen_requests = 0
        self._lag = ClockLag()

    def run(self) -> LaunchOutcome:
        """Returns when the child or the host is gone. Failures of either raise nothing."""
        outcome = self._outcome
        try:
            pipe = self._host.begin(self._job, self._guard.fd)
        except WorkerError as error:
            outcome.host_lost = str(error)
            return outcome
        looked_s = self._clock()
        with pipe:
            while outcome.exit_code is None and outcome.host_lost is None:
                heard = pipe.wait(max(0.0, min(TICK_S, self._limit_s - self._clock())))
                now_s = self._clock()
                if now_s - looked_s > 2 * TICK_S:
                    self._lag.stand_still()
                looked_s = now_s
                self._guard.drain()
                for each in heard or ():
                    self._take(each)
                self._obey()
                if heard is None:
                    self._notify(None)
            rest, outcome.torn = pipe.rest()
            for each in rest:
                self._take(each)
        outcome.slow_clock = self._lag.finding()
        if outcome.host_lost is not None and outcome.pid is not None:
            # The kernel killed the child with its host, but not what the child had started.
            self._host.kill_child(outcome.pid)
        return outcome

    def _obey(self) -> None:
        """Acts on requests to stop and time limits."""
        outcome, now_s = self._outcome, self._clock()
        if self._guard.requests > self._seen_requests:
            self._seen_requests = self._guard.requests
            if self._guard.now:
                self._kill("stop")
            else:
                self._ask("stop")
        if self._deadline_s is not None and now_s >= self._deadline_s and outcome.asked_to_stop is None:
            self._ask("budget")
        if now_s < self._limit_s or self._waited_for_cpu():
            return
        if outcome.killed is None:
            self._kill("timeout" if outcome.answer is None else "teardown")
        else:
            # The host has not reported the killed child: expect nothing more from it.
            self._host.kill()
            outcome.host_lost = f"worker host {self._host.pid} did not answer"

    def _waited_for_cpu(self) -> bool:
        """Moves the limit by the time that the child wanted a CPU and got none: a busy machine is no hang."""
        outcome = self._outcome
        if outcome.killed is not None or outcome.answer is not None or outcome.pid is None:
            return False
        more_s = self._host.delayed_s(outcome.pid) - outcome.delayed_s
        if more_s < TICK_S:
            return False
        outcome.delayed_s += more_s
        self._limit_s += more_s
        return True

    def _ask(self, why: Literal["stop", "budget"]) -> None:
        self._outcome.asked_to_stop = why
        if self._outcome.pid is not None and self._outcome.answer is None:
            self._host.stop_child(self._outcome.pid)

    def _kill(self, why: Literal["timeout", "teardown", "stop", "garbage"]) -> None:
        self._outcome.killed = self._outcome.killed or why
        self._limit_s = self._clock() + KILLED_S
        if self._outcome.pid is not None and self._outcome.exit_code is None:
            self._host.kill_child(self._outcome.pid)

    def _take(self, heard: Heard) -> None:
        """Handles a message. After the first garbage the child is killed and not believed any more."""
        outcome = self._outcome
        if isinstance(heard, HostLost):
            outcome.host_lost = heard.why
        elif isinstance(heard, Started):
            outcome.pid, outcome.isolation = heard.pid, heard.isolation
            if outcome.killed is not None:
                self._kill(outcome.killed)
            elif outcome.asked_to_stop is not None:
                self._ask(outcome.asked_to_stop)
        elif isinstance(heard, Exited):
            outcome.exit_code = heard.exit_code
        elif outcome.garbage is not None:
            return
        elif isinstance(heard, Garbage):
            self._refuse(heard.why)
        elif (why := check_message.problem(heard, self._job)) is not None:
            self._refuse(why)
        elif isinstance(heard, Meeting):
            return  # for other machines, of which this job has none
        elif isinstance(heard, Hello):
            outcome.hello_s = self._clock() - self._began_s
        elif isinstance(heard, Phase):
            outcome.phase = heard.name
            self._lag.hear(heard, self._clock())
            self._notify(heard)
        elif isinstance(heard, Progress):
            self._notify(heard)
        elif outcome.answer is not None:
            outcome.answer = None
            self._refuse("a second result")
        elif isinstance(heard, Result) and outcome.phase in UNFINISHED and not heard.interrupted:
            self._refuse(f"a result while it was in {outcome.phase}")
        else:
            outcome.answer = heard
            self._limit_s = min(self._limit_s, self._clock() + TEARDOWN_S)

    def _refuse(self, why: str) -> None:
        self._outcome.garbage = why
        self._kill("garbage")
