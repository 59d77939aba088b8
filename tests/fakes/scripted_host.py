"""A worker host that answers jobs from a script: in memory, without a process or torch, on a clock that is handed in."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gpubench.core.errors import WorkerError
from gpubench.core.records import Record, Series
from gpubench.protocol.messages import Exited, Failed, Hello, Job, Phase, Result, Started, Turns
from gpubench.runner.arms.arm import Arm
from gpubench.runner.contest.contests import Contests
from gpubench.runner.events import Event, LaunchFinished, LaunchStarted, Notice
from gpubench.runner.launch.attempt import Attempts
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.job_on_host import Limits
from gpubench.runner.launch.job_pipe import Garbage, HostLost
from gpubench.runner.launch.worker_hosts import Host, HostPool
from gpubench.runner.rounds import Rounds
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.store.run_reader import load_run
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import ContestSettings, Measure, Suite
from gpubench.telemetry.run_telemetry import open_session

SERIES = Series(
    clock="perf_counter",
    timing="throughput",
    num_total=60,
    num_warmup=10,
    num_steady=50,
    tau=1.0,
    n_effective=50.0,
    median_s=0.01,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Wait:
    """The child works for so long."""

    seconds: float


Step = Wait | Phase | Result | Failed | Garbage | HostLost | int | Callable[[], None]
"""An int is the exit code of the child; something to call happens at that moment (Ctrl-C)."""
Script = Callable[[Job], list[Step]]

DONE = Result(series=SERIES, metrics={"step_time_s": 0.01})


def measures(seconds: float = 2.0, result: Result = DONE) -> list[Step]:
    return [Phase(name="measuring", at_s=0.0), Wait(seconds), Phase(name="closing", at_s=seconds), result, 0]


def blocks(job: Job, **result) -> list[Step]:
    """All arms of a job in alternating blocks, the second as fast as the first."""
    arms = [DONE, *[DONE.model_copy(update={"block_log_ratio": 0.0}) for _ in job.arms[1:]]]
    return measures(4.0, Result(arms=tuple(arms), **result))


def takes_turns(job: Job, speeds: dict[str, float], *, seconds: float = 8.0, twin: float = 0.0) -> list[Step]:
    """A contest's job: how many times as fast as the first each arm is, by its name."""
    logs = {arm.name: math.log(speeds.get(arm.name, 1.0)) for arm in job.arms}
    return measures(seconds, Result(turns=Turns(num_turns=40, log_speeds=logs, twin=twin, threads=2)))


def fails(status: str = "failed", reason: str = "RuntimeError: no") -> list[Step]:
    return [Failed(status=status, reason=reason), 0]


def hangs(seconds: float = 1e6) -> list[Step]:
    return [Phase(name="measuring", at_s=0.0), Wait(seconds)]


def loses_its_host() -> list[Step]:
    return [Phase(name="measuring", at_s=0.0), HostLost("worker host 1 ended (SIGKILL)")]


class ScriptedPipe:
    def __init__(self, host: "ScriptedHost", job: Job, steps: list[Step]) -> None:
        self.host, self.job, self.steps = host, job, steps
        self.said_early = Result(series=SERIES, metrics={"step_time_s": 0.01}, interrupted=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.host.running = None

    def wait(self, timeout_s):
        if not self.steps:
            self.steps = [Wait(1e9)]
        step = self.steps.pop(0)
        clock = self.host.lab.clock
        if isinstance(step, Wait):
            slept_s = min(step.seconds, timeout_s)
            clock.now_s += slept_s
            if slept_s < step.seconds:
                self.steps.insert(0, Wait(step.seconds - slept_s))
                return None
            return []
        if isinstance(step, int):
            return [Exited(job=self.job.job, pid=self.job.job, exit_code=step)]
        if callable(step):
            step()
            return []
        return [step]

    def rest(self):
        return [], False


class ScriptedHost(Host):
    """Stops a child as the real one would: it sends what it has, unless it is deaf."""

    def __init__(self, key, lab: "Lab") -> None:
        self.key, self.lab, self.log = key, lab, Path("host.log")
        self.number = len(lab.hosts) + 1
        self.hello = Hello(pid=self.number, role="host")
        self.seconds = 0.5
        self.is_alive, self.killed = True, False
        self.running: ScriptedPipe | None = None
        self.jobs: list[Job] = []
        lab.hosts.append(self)

    @property
    def pid(self):
        return self.number

    def begin(self, job, wake_fd):
        if not self.is_alive:
            raise WorkerError(f"worker host {self.number} ended (exit status 1)")
        self.jobs.append(job)
        self.lab.jobs.append(job)
        steps = [
            Started(job=job.job, pid=job.job, isolation="fork"),
            Hello(pid=job.job, role="child"),
            *self.lab.script(job),
        ]
        self.running, self.began_s = ScriptedPipe(self, job, steps), self.lab.clock.now_s
        return self.running

    def stop_child(self, pid):
        self.lab.stopped.append(pid)
        if not self.lab.deaf:
            self.running.steps = [self.running.said_early, 0]

    def kill_child(self, pid):
        self.lab.killed.append(pid)
        if self.running is not None and not self.lab.unkillable:
            self.running.steps = [-9]

    def delayed_s(self, pid):
        return self.lab.delayed_share * (self.lab.clock.now_s - self.began_s)

    def end(self):
        self.is_alive = False

    def kill(self):
        self.is_alive, self.killed = False, True


@dataclass
class Lab:
    """Runs a schedule on scripted hosts and keeps what came out. Each call of `run` goes on with what is stored."""

    folder: Path
    script: Script = lambda _: measures()
    deaf: bool = False
    unkillable: bool = False
    delayed_share: float = 0.0
    no_host: str | None = None
    clock: Clock = field(default_factory=Clock)
    hosts: list[ScriptedHost] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    guard: Guard = field(default_factory=Guard)

    def ctrl_c(self) -> None:
        self.guard.request()

    def run(
        self,
        cases: Iterable[Case],
        *,
        repeats: int = 3,
        seed: int = 1,
        budget_s: float | None = None,
        at_once: int | None = None,
        arms: tuple[Arm, ...] = (),
        levels=None,
        settled=None,
        timeout_s: float = 300.0,
        contest_s: float | None = None,
        still_wanted=None,
        until=None,
        trained: Iterable[Case] = (),
    ) -> tuple[Record, ...]:
        """The records of the run in the order stored, those of earlier calls first."""
        kinds = [*(("measure", case) for case in cases), *(("quality", case) for case in trained)]
        planned = tuple(
            PlannedCase(
                index=at,
                kind=kind,
                case_id=case.case_id,
                label=f"b{case.batch_size}-{case.precision}",
                settings=case.settings,
            )
            for at, (kind, case) in enumerate(kinds, start=1)
        )
        suite = Suite(
            schema=1,
            name="s",
            measure=Measure(repeats=repeats, timeout=timeout_s, telemetry="off"),
            contest=None if contest_s is None else ContestSettings(budget=contest_s),
        )
        info = RunInfo(
            run="r", suite_name="s", suite={}, suite_digest="d", created="2026-01-01T00:00:00Z", cases=planned
        )
        is_stored = self.folder.exists()
        stored, contests = (load_run(self.folder).records, load_run(self.folder).contests) if is_stored else ((), ())
        self.events, self.jobs, self.hosts, self.guard = [], [], [], Guard()
        writer = RunWriter.resume(self.folder) if is_stored else RunWriter.create(self.folder, info)
        schedule = LaunchSchedule(
            planned,
            repeats=repeats,
            seed=seed,
            arms=[arm.name for arm in arms] or [None],
            at_once=at_once,
            until=until,
            records=stored,
        )
        limits = Limits(timeout_s, None if budget_s is None else self.clock() + budget_s, self.clock)
        pool = HostPool(self.folder / "host.log", lambda _: None, start=self._start)
        with writer, self.guard, open_session("off") as telemetry:
            attempts = Attempts(writer, telemetry, self.guard, self.events.append, limits)
            context = RunContext(suite, writer, attempts, self.guard, self.events.append, limits)
            sides = {arm.name: arm for arm in arms} or {None: None}
            Rounds(context, schedule, arms=sides, levels=levels, settled=settled).run(pool)
            Contests(context, schedule, still_wanted=still_wanted, records=contests).run(pool)
        return load_run(self.folder).records

    def _start(self, key, log):
        if self.no_host is not None:
            raise WorkerError(self.no_host)
        return ScriptedHost(key, self)

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def notices(self):
        return [event.message for event in self.told(Notice)]

    @property
    def launched(self):
        """(case, repeat, arm) of every launch that was begun, in order."""
        return [(event.case.index, event.repeat, event.arm) for event in self.told(LaunchStarted)]

    @property
    def finished(self):
        return [event.record for event in self.told(LaunchFinished)]
