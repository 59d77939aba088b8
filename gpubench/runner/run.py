"""Runs a suite to its last record. Never prints; a listener gets its events."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpubench.core.errors import UsageError
from gpubench.core.version import __version__
from gpubench.machine import environment, other_programs
from gpubench.protocol.loaded_files import package_digest
from gpubench.runner.arms.arm import Level, check_cases, level_of_run, levels_of
from gpubench.runner.check_workloads import check_target
from gpubench.runner.contest.contests import StillWanted
from gpubench.runner.events import Listener, Notice
from gpubench.runner.fleet_retests import Suspects
from gpubench.runner.launch.interrupt import ended_by_signals
from gpubench.runner.launch.worker_hosts import HostPool, current_folder
from gpubench.runner.plan import Hellos, greet, modules_of, plan_cases, versions_on
from gpubench.runner.run_session import NO_DECISIONS, Decisions, MeasureRequest, RunSession
from gpubench.runner.stored_run import (
    check_arms,
    check_own,
    check_planned,
    check_unchanged,
    origin_of,
    place_of,
    recorded_interpreter,
    recorded_suite_path,
)
from gpubench.store.run_info import PlannedCase, RunInfo, TuneGoal, understood
from gpubench.store.run_names import new_run_name
from gpubench.store.run_reader import Run, load_info, load_run
from gpubench.store.run_writer import RunWriter
from gpubench.suite.cases.expand import expand
from gpubench.suite.cases.labels import NamedCases, named_cases
from gpubench.suite.load import LoadedSuite, load_suite
from gpubench.suite.model.case import Case, CaseId
from gpubench.suite.model.suite import Suite
from gpubench.suite.select.expression import parse_selection

BeforeMeasuring = Callable[[RunInfo], None]
"""Called with the plan before the first launch; may raise to end the run with nothing measured (`--strict`)."""


@dataclass(frozen=True)
class RunRequest(MeasureRequest):
    """A request for a run. `cases` are ids or labels of cases to run, instead of a `selection`. `out` is the run's
    folder; without it one is made inside `store`. `folder` is where relative paths start (None: the current one).

    `tune` is the goal of a search for the best case; `seed` None draws one. With arms, `rounds` is the most rounds per
    case (None: the suite's repeats), of which every case of a screened run gets `screen_rounds`; `sesoi` is the
    smallest effect of interest, and `interleave` how the arms take turns (None: the strongest way each case allows).
    """

    loaded: LoadedSuite
    selection: str | None = None
    cases: tuple[str, ...] = ()
    store: Path = Path("reports")
    out: Path | None = None
    tag: str | None = None
    seed: int | None = None
    anonymous: bool = False
    argv: tuple[str, ...] = ()
    folder: Path | None = None
    rounds: int | None = None
    screen_rounds: int | None = None
    sesoi: float | None = None
    interleave: Level | None = None
    tune: TuneGoal | None = None
    price_per_hour: float | None = None

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
class ResumeRequest(MeasureRequest):
    """A request to continue a run as planned. `arms` are those of the run, made again. `force` continues although the
    code, the machine or its state differ; `trust` continues someone else's run that names programs.
    """

    folder: Path
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
    decisions = Decisions(still_wanted=still_wanted, suspects=suspects)
    outcome = start(RunRequest(loaded, **asked), listener, decisions)
    if outcome.interrupted:
        raise KeyboardInterrupt(f"the run was interrupted; what was measured is in {outcome.folder}")
    return load_run(outcome.folder)


def start(
    request: RunRequest,
    listener: Listener | None = None,
    decisions: Decisions = NO_DECISIONS,
    *,
    before: BeforeMeasuring | None = None,
) -> RunOutcome:
    """Starts a new run; with a `next_step`, of the cases that it chooses.

    The folder is made before any worker starts, so that a full disk is found at once.
    """
    now = datetime.now(UTC)
    suite = request.loaded.suite
    cases = request.wanted()
    name = request.out.name if request.out is not None else new_run_name(suite.name, now, request.store)
    folder = request.out or request.store / name
    _refuse_bytes(Path.cwd(), folder)
    info = _info(request, name, now)
    beside = request.loaded.beside
    modules = modules_of(suite, cases, request.arms, (*request.search_path, *beside))
    with (
        ended_by_signals(),
        ExitStack() as undo,
        RunWriter.create(folder, info, undo) as writer,
        RunSession(writer, listener, request.folder, modules, suite) as session,
    ):
        before_hosts = other_programs.look()
        hellos = greet(session.pool, cases, request.arms)
        busy = other_programs.others(before_hosts, named=not request.anonymous)
        info, levels = _planned(info, request, hellos, busy)
        writer.update_info(info)
        if before is not None:
            before(info)
        undo.pop_all()  # from here on there is something to keep
        session.tell_if_busy(busy)
        if decisions.next_step is not None:
            grid, info = info.cases, info.model_copy(update={"cases": ()})
            writer.update_info(info)
            interrupted = session.tune(info, suite, request, grid, decisions.next_step, beside)
        else:
            interrupted = session.measure(info, suite, request, decisions, levels, beside)
        return RunOutcome(writer.folder, writer.info, interrupted)


def _refuse_bytes(*folders: Path) -> None:
    """UsageError for a folder that records and messages, which are Unicode, cannot name."""
    for folder in folders:
        try:
            str(folder).encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"the name of {folder} is not UTF-8 text, and records could not name it.",
                hint="Rename the folder, or run in another one: --out DIR, --store DIR.",
            ) from error


def resume(
    request: ResumeRequest,
    listener: Listener | None = None,
    decisions: Decisions = NO_DECISIONS,
    *,
    before: BeforeMeasuring | None = None,
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
    modules = modules_of(suite, cases, request.arms, (*request.search_path, *place.search_path))
    with (
        ended_by_signals(),
        RunWriter.resume(request.folder) as writer,
        RunSession(writer, listener, place.folder, modules, suite) as session,
    ):
        run = load_run(request.folder)
        info = run.info
        before_hosts = other_programs.look()
        hellos = greet(session.pool, cases, request.arms)
        hidden = info.is_anonymous
        here = environment.collect(versions_on(hellos), anonymous=hidden, folder=place.folder)
        for each in check_unchanged(info, here, recorded_interpreter(hidden=hidden), force=request.force):
            session.tell(Notice(f"the run continues although it differs: {each}", "Compare its launches with care."))
        if not run.contests and all(record.pid is None for record in run.records):
            info = _begun_here(info, here, hellos)
            writer.update_info(info)
        session.tell_if_busy(other_programs.others(before_hosts, named=not hidden))
        if before is not None:
            before(info)
        if decisions.next_step is not None:
            grid = plan_cases(suite, cases, hellos)
            interrupted = session.tune(info, suite, request, grid, decisions.next_step, place.search_path)
        else:
            asked: Level | None = "launch" if info.interleave == "launch" else None
            levels = levels_of(request.arms, info.cases, asked) if request.arms else {}
            interrupted = session.measure(
                info, suite, request, decisions, levels, place.search_path, run.records, run.contests
            )
        return RunOutcome(writer.folder, writer.info, interrupted)


def _begun_here(info: RunInfo, here: Mapping[str, Any], hellos: Hellos) -> RunInfo:
    """The head of a run of which nothing is measured yet, with the code and the machine that its launches will have."""
    return info.model_copy(
        update={
            "versions": {**versions_on(hellos), "gpubench": __version__},
            "environment": {**here, "others": info.environment.get("others")},
            "interpreter": recorded_interpreter(hidden=info.is_anonymous),
            "package_digest": package_digest(),
        }
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


def _info(request: RunRequest, name: str, now: datetime) -> RunInfo:
    """The run's head as known before any worker starts."""
    loaded = request.loaded
    folder = request.folder or current_folder()
    return RunInfo(
        run=name,
        suite_name=loaded.suite.name,
        suite=loaded.suite.model_dump(mode="json", by_alias=True, exclude_unset=True),
        suite_digest=loaded.digest,
        suite_path=recorded_suite_path(loaded.path, folder, hidden=request.anonymous),
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
        price_per_hour=request.price_per_hour,
        working_folder=None if folder is None or request.anonymous else str(folder),
        interpreter=recorded_interpreter(hidden=request.anonymous),
        package_digest=package_digest(),
    )


def _planned(
    info: RunInfo, request: RunRequest, hellos: Hellos, others: Mapping[str, Any] | None
) -> tuple[RunInfo, dict[int, Level]]:
    """The run's head completed after the hosts have started, and how the arms of each case take turns."""
    planned, levels = request.planned(hellos)
    versions = versions_on(hellos)
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
