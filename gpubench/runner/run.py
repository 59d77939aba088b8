"""Runs a suite to its last record. Never prints; a listener gets its events."""

import hashlib
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from gpubench.core.errors import StoreError, UsageError
from gpubench.core.records import ContestRecord, Record
from gpubench.core.secrets import mask_text
from gpubench.core.version import __version__
from gpubench.machine import environment, other_programs
from gpubench.protocol.host_modules import host_modules
from gpubench.protocol.messages import Hello
from gpubench.runner.arms.arm import Arm, Level, check_cases, level_of_run, levels_of, why_not_blocks
from gpubench.runner.check_workloads import check_target
from gpubench.runner.contest.contests import Contests, StillWanted
from gpubench.runner.events import Event, HostStarted, LaunchPhase, Listener, Notice, RunFinished, RunStarted
from gpubench.runner.fleet_retests import FleetRetests, Suspects
from gpubench.runner.launch.attempt import Attempts
from gpubench.runner.launch.interrupt import Guard, ended_by_signals
from gpubench.runner.launch.job_on_host import Limits
from gpubench.runner.launch.worker_hosts import AnyHost, Host, HostKey, HostPool, current_folder, versions_of
from gpubench.runner.nodes.cluster_host import ClusterHosts
from gpubench.runner.nodes.open_cluster import open_cluster
from gpubench.runner.plan import Hellos, greet, plan_cases
from gpubench.runner.rounds import Rounds, Settled
from gpubench.runner.schedule import LaunchSchedule, UntilKnown
from gpubench.runner.stored_run import check_arms, check_own, check_planned, check_unchanged, origin_of, place_of
from gpubench.runner.tuning import NextStep, Tuning, key_of
from gpubench.store.atomic_files import tidy_log
from gpubench.store.run_info import PlannedCase, RunInfo, TuneGoal, understood
from gpubench.store.run_names import new_run_name
from gpubench.store.run_reader import Run, load_info, load_run
from gpubench.store.run_writer import RunWriter
from gpubench.suite.cases.expand import expand
from gpubench.suite.cases.labels import NamedCases, named_cases
from gpubench.suite.load import LoadedSuite, load_suite
from gpubench.suite.model.case import Case, CaseId
from gpubench.suite.model.suite import ClusterSettings, Suite
from gpubench.suite.select.expression import parse_selection
from gpubench.telemetry.run_telemetry import open_session

HOST_LOG = "host.log"

BeforeMeasuring = Callable[[RunInfo], None]
"""Called with the plan before the first launch; may raise to end the run with nothing measured (`--strict`)."""


@dataclass(frozen=True)
class RunRequest:
    """A request for a run. `cases` are ids or labels of cases to run, instead of a `selection`. `out` is the run's
    folder; without it one is made inside `store`.

    `tune` is the goal of a search for the best case. `budget_s` in seconds; `seed` None draws one. `at_once`: finish
    this many cases before starting the next ones (None: all cases share their rounds). `folder` is where relative paths
    start (None: the current one). `arms` are the sides of an A/B, the reference first. With arms, `rounds` is the most
    rounds per case (None: the suite's repeats), of which every case of a screened run gets `screen_rounds`; `sesoi` is
    the smallest effect of interest, and `interleave` how the arms take turns (None: the strongest way each case
    allows).
    """

    loaded: LoadedSuite
    selection: str | None = None
    cases: tuple[str, ...] = ()
    store: Path = Path("reports")
    out: Path | None = None
    tag: str | None = None
    seed: int | None = None
    budget_s: float | None = None
    download: bool = False
    skip_after_oom: bool = True
    at_once: int | None = None
    anonymous: bool = False
    argv: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ()
    search_path: tuple[str, ...] = ()
    folder: Path | None = None
    rounds: int | None = None
    screen_rounds: int | None = None
    sesoi: float | None = None
    interleave: Level | None = None
    tune: TuneGoal | None = None

    @property
    def kept(self) -> Callable[[Case], bool] | None:
        """Which cases are measured; None for all of them."""
        if self.cases:
            measured = self._named.measured
            return lambda case: case.case_id in measured
        return None if self.selection is None else parse_selection(self.selection).matches

    @property
    def trained(self) -> frozenset[CaseId] | None:
        """Ids of training runs requested by name; None if they follow from the measured cases."""
        return self._named.trained if self.cases else None

    @property
    def _named(self) -> NamedCases:
        loaded = self.loaded
        return named_cases(self.cases, loaded.cases, loaded.quality_cases, overrides=loaded.overrides)

    def wanted(self) -> list[Case]:
        """The requested cases, including those this machine cannot run. UsageError if there are none."""
        kept, trained = self.kept, self.trained or ()
        cases = [case for case in self.loaded.cases if kept is None or kept(case)]
        cases += [case for case in self.loaded.quality_cases if case.case_id in trained]
        if not cases:
            what = "has no cases" if kept is None else f"has no case that matches {self.selection!r}"
            raise UsageError(
                f"suite {self.loaded.suite.name} {what}",
                hint="`gpubench validate SUITE --cases` lists the cases of a suite.",
            )
        return cases

    def planned(self, hellos: Hellos) -> tuple[tuple[PlannedCase, ...], dict[int, Level]]:
        """The plan on the started hosts, and how the arms of each case take turns. UsageError if the arms do not suit
        the cases.
        """
        loaded, arms = self.loaded, self.arms
        planned = plan_cases(loaded.suite, loaded.cases, hellos, self.kept, arms, self.trained)
        check_cases(arms, planned)
        return planned, levels_of(arms, planned, self.interleave) if arms else {}


@dataclass(frozen=True)
class ResumeRequest:
    """A request to continue a run as planned. `arms` are those of the run, made again. `force` continues although the
    code, the machine or its state differ; `trust` continues someone else's run that names programs. `at_once` as in
    `RunRequest`.
    """

    folder: Path
    budget_s: float | None = None
    download: bool = False
    skip_after_oom: bool = True
    at_once: int | None = None
    arms: tuple[Arm, ...] = ()
    search_path: tuple[str, ...] = ()
    force: bool = False
    trust: bool = False


@dataclass(frozen=True)
class RunOutcome:
    """`interrupted`: ended early by a request; what was measured by then is stored."""

    folder: Path
    info: RunInfo
    interrupted: bool


def run_suite(
    source: str | Path,
    listener: Listener | None = None,
    *,
    overrides: Sequence[str] = (),
    still_wanted: StillWanted | None = None,
    suspects: Suspects | None = None,
    **asked: Any,
) -> Run:
    """Load a suite, run it, and open the stored run. `asked` are fields of `RunRequest`; without `still_wanted` a
    contest has three rounds.

    Raises SuiteError, UsageError, StoreError or WorkerError before anything is measured; afterwards every way a case
    may end is a record. KeyboardInterrupt after an interrupted run, whose folder holds what was measured.
    """
    loaded = load_suite(source, overrides)
    check_target(loaded)
    outcome = start(RunRequest(loaded, **asked), listener, still_wanted=still_wanted, suspects=suspects)
    if outcome.interrupted:
        raise KeyboardInterrupt(f"the run was interrupted; what was measured is in {outcome.folder}")
    return load_run(outcome.folder)


def start(
    request: RunRequest,
    listener: Listener | None = None,
    *,
    before: BeforeMeasuring | None = None,
    settled: Settled | None = None,
    still_wanted: StillWanted | None = None,
    suspects: Suspects | None = None,
    next_step: NextStep | None = None,
) -> RunOutcome:
    """A new run; with `next_step`, of the cases that it chooses. The folder is made first, so that a full disk is found
    before a worker starts.
    """
    now = datetime.now(UTC)
    suite = request.loaded.suite
    cases = request.wanted()
    name = request.out.name if request.out is not None else new_run_name(suite.name, now, request.store)
    folder = request.out or request.store / name
    info = _info(request, name, now)
    beside = request.loaded.beside
    modules = _modules(suite, cases, request.arms, (*request.search_path, *beside), request.interleave)
    made = planned = False
    with ended_by_signals():
        try:
            with (
                RunWriter.create(folder, info) as writer,
                _Stage(writer, listener, request.folder, modules, suite) as stage,
            ):
                made = True
                before_hosts = other_programs.look()
                hellos = greet(stage.pool, cases, request.arms)
                busy = other_programs.others(before_hosts, named=not request.anonymous)
                info, levels = _planned(info, request, hellos, busy)
                writer.update_info(info)
                if before is not None:
                    before(info)
                planned = True
                stage.tell_if_busy(busy)
                if next_step is not None:
                    grid, info = info.cases, info.model_copy(update={"cases": ()})
                    writer.update_info(info)
                    return stage.tune(info, suite, request, grid, next_step, beside)
                return stage.measure(
                    info, suite, request, settled, levels, beside, still_wanted=still_wanted, suspects=suspects
                )
        except BaseException:
            if made and not planned:
                shutil.rmtree(folder, ignore_errors=True)  # the folder holds only the head of a run that never began
            raise


def resume(
    request: ResumeRequest,
    listener: Listener | None = None,
    *,
    before: BeforeMeasuring | None = None,
    settled: Settled | None = None,
    still_wanted: StillWanted | None = None,
    suspects: Suspects | None = None,
    next_step: NextStep | None = None,
) -> RunOutcome:
    """Measures the missing launches of a stored run: those without a record, cut short, or left out for the time
    budget.

    Suite, cases, seed, repeats and arms are those of the run. UsageError if its code is missing, or `request.arms` are
    not its arms; also, unless the request allows it, if the code or the machine has changed since, or if someone else
    made the run.
    """
    info = load_info(request.folder)
    check_planned(info, request.folder)
    check_own(info, trust=request.trust)
    check_arms(info, [arm.name for arm in request.arms])
    place = place_of(info)
    suite = understood(Suite, info.suite, "the run's suite has a setting")
    cases = [entry.case for entry in info.cases] if info.tune is None else list(expand(suite).cases)
    asked: Level | None = "launch" if info.interleave == "launch" else None
    modules = _modules(suite, cases, request.arms, (*request.search_path, *place.search_path), asked)
    with (
        ended_by_signals(),
        RunWriter.resume(request.folder) as writer,
        _Stage(writer, listener, place.folder, modules, suite) as stage,
    ):
        run = load_run(request.folder)
        info = run.info
        before_hosts = other_programs.look()
        hellos = greet(stage.pool, cases, request.arms)
        hidden = bool(info.environment.get("anonymous"))
        here = environment.collect(_versions(hellos), anonymous=hidden, folder=place.folder)
        for each in check_unchanged(info, here, _interpreter(hidden=hidden), force=request.force):
            stage.tell(Notice(f"the run continues although it differs: {each}", "Compare its launches with care."))
        stage.tell_if_busy(other_programs.others(before_hosts, named=not hidden))
        if before is not None:
            before(info)
        if next_step is not None:
            grid = plan_cases(suite, cases, hellos)
            return stage.tune(info, suite, request, grid, next_step, place.search_path)
        levels = levels_of(request.arms, info.cases, asked) if request.arms else {}
        return stage.measure(
            info,
            suite,
            request,
            settled,
            levels,
            place.search_path,
            run.records,
            still_wanted=still_wanted,
            suspects=suspects,
            contests=run.contests,
        )


def preview(request: RunRequest, log: Path) -> tuple[PlannedCase, ...]:
    """The plan of a run on this machine, without measuring or storing anything. `log` gets the output of worker
    hosts.
    """
    pool = HostPool(log, lambda _: None)
    try:
        return request.planned(greet(pool, request.wanted(), request.arms))[0]
    finally:
        pool.close()


class _Stage:
    """Hosts and telemetry of a run, open from planning to its end."""

    def __init__(
        self,
        writer: RunWriter,
        listener: Listener | None,
        folder: Path | None,
        modules: tuple[str, ...],
        suite: Suite,
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
        request: RunRequest | ResumeRequest,
        settled: Settled | None,
        levels: Mapping[int, Level],
        beside: tuple[str, ...],
        records: Sequence[Record] = (),
        *,
        still_wanted: StillWanted | None = None,
        suspects: Suspects | None = None,
        contests: Sequence[ContestRecord] = (),
    ) -> RunOutcome:
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
        deadline_s = None if request.budget_s is None else self._began_s + request.budget_s
        limits, search_path = Limits(suite.measure.timeout, deadline_s), (*request.search_path, *beside)
        hide = bool(info.environment.get("anonymous"))
        with Guard() as guard, open_session(suite.measure.telemetry) as telemetry:
            Rounds(
                suite,
                schedule,
                self._writer,
                telemetry,
                guard,
                self.tell,
                limits,
                arms={arm.name: arm for arm in request.arms} or {None: None},
                search_path=search_path,
                download=request.download,
                settled=settled,
                levels=levels,
                hide=hide,
            ).run(self.pool)
            Contests(
                suite,
                schedule,
                self._writer,
                Attempts(self._writer, telemetry, guard, self.tell, limits),
                guard,
                self.tell,
                limits,
                still_wanted=still_wanted,
                search_path=search_path,
                download=request.download,
                hide=hide,
                records=contests,
            ).run(self.pool)
            FleetRetests(
                suite,
                schedule,
                self._writer,
                Attempts(self._writer, telemetry, guard, self.tell, limits),
                guard,
                self.tell,
                limits,
                suspects=suspects,
                search_path=search_path,
                hide=hide,
                records=records,
            ).run(self.pool)
        return self._finished(guard)

    def tune(
        self,
        info: RunInfo,
        suite: Suite,
        request: RunRequest | ResumeRequest,
        grid: Sequence[PlannedCase],
        next_step: NextStep,
        beside: tuple[str, ...],
    ) -> RunOutcome:
        """Measures the cases of `grid` that `next_step` chooses, step by step."""
        self.tell(RunStarted(info, self._writer.folder, 0))
        deadline_s = None if request.budget_s is None else self._began_s + request.budget_s
        with Guard() as guard, open_session(suite.measure.telemetry) as telemetry:
            Tuning(
                suite,
                {key_of(case): case for case in grid},
                self._writer,
                telemetry,
                guard,
                self.tell,
                Limits(suite.measure.timeout, deadline_s),
                next_step,
                search_path=(*request.search_path, *beside),
                download=request.download,
                hide=bool(info.environment.get("anonymous")),
            ).run(self.pool)
        return self._finished(guard)

    def _finished(self, guard: Guard) -> RunOutcome:
        self.tell(RunFinished(self._writer.folder, guard.stopping, time.monotonic() - self._began_s))
        return RunOutcome(self._writer.folder, self._writer.info, guard.stopping)


def _info(request: RunRequest, name: str, now: datetime) -> RunInfo:
    """The run's head as known before any worker starts."""
    loaded = request.loaded
    folder = request.folder or current_folder()
    return RunInfo(
        run=name,
        suite_name=loaded.suite.name,
        suite=loaded.suite.model_dump(mode="json", by_alias=True, exclude_unset=True),
        suite_digest=loaded.digest,
        suite_path=_suite_path(loaded.path, folder, hidden=request.anonymous),
        target=loaded.target,
        created=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        argv=request.argv,
        tag=request.tag,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        repeats=request.rounds or loaded.suite.measure.most_repeats,
        selection=request.selection,
        arms=tuple(arm.info for arm in request.arms),
        screen_rounds=request.screen_rounds,
        sesoi=request.sesoi,
        tune=request.tune,
        working_folder=None if folder is None or request.anonymous else str(folder),
        interpreter=_interpreter(hidden=request.anonymous),
    )


def _planned(
    info: RunInfo, request: RunRequest, hellos: Hellos, others: Mapping[str, Any] | None
) -> tuple[RunInfo, dict[int, Level]]:
    """The run's head completed after the hosts have started, and how the arms of each case take turns."""
    planned, levels = request.planned(hellos)
    versions = _versions(hellos)
    info = info.model_copy(
        update={
            "cases": planned,
            "interleave": level_of_run(levels) if request.arms else None,
            "versions": {**versions, "gpubench": __version__},
            "environment": {
                **environment.collect(versions, anonymous=request.anonymous, folder=request.folder),
                "others": others,
            },
        }
    )
    return info.model_copy(update={"origin": origin_of(info)}), levels


def _modules(
    suite: Suite, cases: Sequence[Case], arms: Sequence[Arm], search_path: Sequence[str], interleave: Level | None
) -> tuple[str, ...]:
    """The modules that hosts import for these cases, as changed by every arm."""
    sides = [{arm.name: arm.case(case) for arm in arms} or {"": case} for case in cases]
    blocks = bool(arms) and interleave != "launch" and any(why_not_blocks(each) is None for each in sides)
    return host_modules(suite, [case for each in sides for case in each.values()], search_path, blocks=blocks)


def _until_known(suite: Suite) -> UntilKnown | None:
    measure = suite.measure
    return None if measure.repeat_range is None else UntilKnown(measure.repeat_range.min, measure.target_rel_ci)


def _suite_path(path: Path | None, folder: Path | None, *, hidden: bool) -> str | None:
    """Where the suite file is: within the folder of the run, or only its name, if folders are `hidden`."""
    if path is None or not hidden:
        return None if path is None else str(path)
    return str(path.relative_to(folder)) if folder is not None and path.is_relative_to(folder) else path.name


def _interpreter(*, hidden: bool) -> str:
    """The prefix of this Python, or a digest that still tells another one."""
    return hashlib.sha256(sys.prefix.encode()).hexdigest()[:12] if hidden else sys.prefix


def _versions(hellos: Hellos) -> dict[str, str | None]:
    return versions_of([hello for hello in hellos.values() if isinstance(hello, Hello)])
