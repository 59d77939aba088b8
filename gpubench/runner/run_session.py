"""What a run holds open while it measures: worker hosts, nodes and telemetry; and the measuring itself."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from gpubench.core.errors import StoreError
from gpubench.core.records import ContestRecord, Record
from gpubench.core.secrets import mask_text
from gpubench.machine import other_programs
from gpubench.runner.arms.arm import Arm, Level
from gpubench.runner.contest.contests import Contests, StillWanted
from gpubench.runner.events import Event, HostStarted, LaunchPhase, Listener, Notice, RunFinished, RunStarted
from gpubench.runner.fleet_retests import FleetRetests, Suspects
from gpubench.runner.launch.attempt import Attempts
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.job_on_host import Limits
from gpubench.runner.launch.worker_hosts import AnyHost, Host, HostKey, HostPool
from gpubench.runner.nodes.cluster_host import ClusterHosts
from gpubench.runner.nodes.open_cluster import open_cluster
from gpubench.runner.rounds import Rounds, Settled
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import LaunchSchedule, UntilKnown
from gpubench.runner.tuning import NextStep, Tuning, key_of
from gpubench.store.atomic_files import tidy_log
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.suite import ClusterSettings, Suite
from gpubench.telemetry.run_telemetry import open_session

HOST_LOG = "host.log"


@dataclass(frozen=True, kw_only=True)
class MeasureRequest:
    """What can be asked of new and of resumed runs. `budget_s` in seconds; `at_once`: finish this many cases before
    starting the next ones (None: all cases share their rounds). `arms` are the sides of an A/B, the reference first.
    """

    budget_s: float | None = None
    download: bool = False
    skip_after_oom: bool = True
    at_once: int | None = None
    arms: tuple[Arm, ...] = ()
    search_path: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What is decided from the figures while a run measures. Without any, every planned launch is made, a contest has
    three rounds, and no card is measured again.
    """

    settled: Settled | None = None
    still_wanted: StillWanted | None = None
    suspects: Suspects | None = None
    next_step: NextStep | None = None


NO_DECISIONS = Decisions()


class RunSession:
    """Worker hosts, nodes and telemetry of a run, from planning to its end."""

    def __init__(
        self, writer: RunWriter, listener: Listener | None, folder: Path | None, modules: tuple[str, ...], suite: Suite
    ) -> None:
        """UsageError where its cluster cannot be opened. A fleet is one, of this machine's cards at least."""
        per_card = suite.fleet is not None
        cluster = suite.cluster or (ClusterSettings() if per_card else None)
        self._writer, self._listener = writer, listener or (lambda _: None)
        self._log = writer.folder.absolute() / HOST_LOG
        self._began_s = time.monotonic()
        self._cluster = None
        if cluster is not None:
            self._cluster = open_cluster(cluster, self._log, self._say_of_node, per_card=per_card)
        start: Callable[[HostKey, Path], AnyHost] = partial(Host, folder=folder, modules=modules)
        if self._cluster is not None and cluster is not None:
            start = ClusterHosts(self._cluster, cluster.ranks_per_node, modules).start
        self.pool = HostPool(self._log, self._host_started, start=start)

    def __enter__(self) -> Self:
        if self._cluster is not None:
            self._cluster.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close(now=True)
        if self._cluster is not None:
            self._cluster.close()
        if self._log.exists() and self._log.stat().st_size == 0:
            self._log.unlink()
        elif self._log.exists():
            with suppress(OSError, StoreError):
                tidy_log(self._log)

    def tell(self, event: Event) -> None:
        """Passes an event to the listener, without secrets in the words of workers and workloads."""
        if isinstance(event, Notice):
            event = Notice(mask_text(event.message), mask_text(event.hint))
        elif isinstance(event, LaunchPhase):
            event = LaunchPhase(mask_text(event.name))
        self._listener(event)

    def tell_if_busy(self, others: Mapping[str, Any] | None) -> None:
        """Reports other programs that use the CPUs, before anything is measured."""
        busy = other_programs.busy_text(others)
        if busy:
            self.tell(Notice(f"busy machine: {busy}", "Figures will be less certain: stop what can be stopped."))

    def _say_of_node(self, message: str, hint: str) -> None:
        self.tell(Notice(message, hint))

    def _host_started(self, host: AnyHost) -> None:
        self.tell(HostStarted(host.pid, host.seconds, dict(host.hello.versions), host.hello.devices))

    def measure(
        self,
        info: RunInfo,
        suite: Suite,
        request: MeasureRequest,
        decisions: Decisions,
        levels: Mapping[int, Level],
        beside: tuple[str, ...],
        records: Sequence[Record] = (),
        contests: Sequence[ContestRecord] = (),
    ) -> bool:
        """Measures the planned cases of `info` and their contests; returns whether a request ended it early.

        `records` and `contests` are those that a resumed run has already; `beside` are the folders of its workloads.
        """
        schedule = LaunchSchedule(
            info.cases,
            repeats=info.repeats,
            quality_seeds=1 if suite.quality is None else suite.quality.seeds,
            seed=info.seed,
            arms=[arm.name for arm in request.arms] or [None],
            skip_after_oom=request.skip_after_oom,
            at_once=request.at_once,
            until=_until_known(suite) if not request.arms else None,
            records=records,
        )
        self.tell(RunStarted(info, self._writer.folder, schedule.num_launches, schedule.num_done))
        with self._context(suite, request, beside) as context:
            arms: dict[str | None, Arm | None] = {arm.name: arm for arm in request.arms} or {None: None}
            Rounds(context, schedule, arms=arms, settled=decisions.settled, levels=levels).run(self.pool)
            Contests(context, schedule, still_wanted=decisions.still_wanted, records=contests).run(self.pool)
            FleetRetests(context, schedule, suspects=decisions.suspects, records=records).run(self.pool)
        return self._finished(context.guard)

    def tune(
        self,
        info: RunInfo,
        suite: Suite,
        request: MeasureRequest,
        grid: Sequence[PlannedCase],
        next_step: NextStep,
        beside: tuple[str, ...],
    ) -> bool:
        """Measures the cases of `grid` that `next_step` chooses, step by step; returns as `measure` does."""
        self.tell(RunStarted(info, self._writer.folder, 0))
        with self._context(suite, request, beside) as context:
            Tuning(context, {key_of(case): case for case in grid}, next_step).run(self.pool)
        return self._finished(context.guard)

    @contextmanager
    def _context(self, suite: Suite, request: MeasureRequest, beside: tuple[str, ...]) -> Iterator[RunContext]:
        deadline_s = None if request.budget_s is None else self._began_s + request.budget_s
        limits, search_path = Limits(suite.measure.timeout, deadline_s), (*request.search_path, *beside)
        with Guard() as guard, open_session(suite.measure.telemetry) as telemetry:
            attempts = Attempts(self._writer, telemetry, guard, self.tell, limits)
            yield RunContext(suite, self._writer, attempts, guard, self.tell, limits, search_path, request.download)

    def _finished(self, guard: Guard) -> bool:
        self.tell(RunFinished(self._writer.folder, guard.stopping, time.monotonic() - self._began_s))
        return guard.stopping


def _until_known(suite: Suite) -> UntilKnown | None:
    measure = suite.measure
    return None if measure.repeat_range is None else UntilKnown(measure.repeat_range.min, measure.target_rel_ci)
