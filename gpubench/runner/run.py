"""A run from its suite to its last record. Never prints: whoever wants to know listens to its events."""

import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from gpubench.core.errors import UsageError, WorkerError
from gpubench.core.records import Record
from gpubench.core.version import __version__
from gpubench.machine import environment
from gpubench.protocol.messages import Hello
from gpubench.runner.arms.arm import Arm, check_cases
from gpubench.runner.arms.levels import Level, level_of_run, levels_of
from gpubench.runner.events import Event, HostStarted, Listener, RunFinished, RunStarted
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.limits import Limits
from gpubench.runner.launch.worker_hosts import Host, HostKey, HostPool, versions_of
from gpubench.runner.plan import Hellos, plan_cases
from gpubench.runner.rounds import Rounds, Settled
from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.store.run_names import new_run_name
from gpubench.store.run_reader import Run, load_run
from gpubench.store.run_writer import RunWriter
from gpubench.suite.cases.labels import NamedCases, named_cases
from gpubench.suite.load import LoadedSuite, load_suite
from gpubench.suite.model.case import Case, CaseId
from gpubench.suite.model.suite import Suite
from gpubench.suite.select.expression import parse_selection
from gpubench.telemetry.run_telemetry import open_session

HOST_LOG = "host.log"

BeforeMeasuring = Callable[[RunInfo], None]
"""Called with the plan before the first launch; may raise to end the run with nothing measured (`--strict`)."""


@dataclass(frozen=True)
class RunRequest:
    """What is asked of a run. `cases` are ids or labels of those to run, instead of a `selection`. `out` is the run's
    folder; without it one is made inside `store`.

    `budget_s` in seconds; `seed` None draws one. `arms` are the sides of an A/B, the reference first: then `rounds` is
    the most that a case gets (None: the suite's repeats), of which every case of a screened run gets `screen_rounds`,
    `sesoi` the smallest change that matters, and `interleave` how the arms take turns (None: the strongest way that
    each case allows).
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
    anonymous: bool = False
    argv: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ()
    search_path: tuple[str, ...] = ()
    rounds: int | None = None
    screen_rounds: int | None = None
    sesoi: float | None = None
    interleave: Level | None = None


@dataclass(frozen=True)
class ResumeRequest:
    """What is asked of a run that goes on. What is measured is as it was planned; `arms` are those of the run, made
    again.
    """

    folder: Path
    budget_s: float | None = None
    download: bool = False
    skip_after_oom: bool = True
    arms: tuple[Arm, ...] = ()
    search_path: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunOutcome:
    """`interrupted` by a request; what was measured until then is stored all the same."""

    folder: Path
    info: RunInfo
    interrupted: bool


def run_suite(
    source: str | Path, listener: Listener | None = None, *, overrides: Sequence[str] = (), **asked: Any
) -> Run:
    """Load a suite, run it, and open what it left. `asked` are the fields of `RunRequest`.

    Raises SuiteError, UsageError, StoreError or WorkerError before anything is measured; afterwards every end of a case
    is a record. KeyboardInterrupt after an interrupted run, whose folder holds what was measured.
    """
    outcome = start(RunRequest(load_suite(source, overrides), **asked), listener)
    if outcome.interrupted:
        raise KeyboardInterrupt(f"the run was interrupted; what was measured is in {outcome.folder}")
    return load_run(outcome.folder)


def start(
    request: RunRequest,
    listener: Listener | None = None,
    *,
    before: BeforeMeasuring | None = None,
    settled: Settled | None = None,
) -> RunOutcome:
    """A new run. The folder is made first, so that a disk that cannot hold it is found before a worker starts."""
    now = datetime.now(UTC)
    suite = request.loaded.suite
    kept = _selection(request)
    name = request.out.name if request.out is not None else new_run_name(suite.name, now, request.store)
    folder = request.out or request.store / name
    info = _info(request, name, now)
    with RunWriter.create(folder, info) as writer, _Stage(writer, listener or _nobody) as stage:
        try:
            hellos = stage.greet(_cases(request, kept), request.arms)
            info, levels = stage.planned(info, request, hellos, kept)
            if before is not None:
                before(info)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # it holds nothing but the head of a run that never began
            raise
        schedule = _schedule(info, suite, request)
        return stage.measure(info, suite, schedule, request, settled, levels)


def resume(
    request: ResumeRequest,
    listener: Listener | None = None,
    *,
    before: BeforeMeasuring | None = None,
    settled: Settled | None = None,
) -> RunOutcome:
    """Measures what is missing of a stored run: launches without a record, cut short, or left out for the time budget.

    Suite, cases, seed, repeats and arms are those of the run. UsageError where another GPU or torch is here than the
    run began on, or where `request.arms` are not its arms.
    """
    with RunWriter.resume(request.folder) as writer, _Stage(writer, listener or _nobody) as stage:
        run = load_run(request.folder)
        info, suite = run.info, Suite.model_validate(run.info.suite)
        _same_arms(info, request.arms)
        cases = [entry.case for entry in info.cases]
        hellos = stage.greet(cases, request.arms)
        _same_machine(info, environment.collect(_versions(hellos), anonymous=bool(info.environment.get("anonymous"))))
        if before is not None:
            before(info)
        schedule = _schedule(info, suite, request, run.records)
        asked: Level | None = "launch" if info.interleave == "launch" else None
        levels = levels_of(request.arms, info.cases, asked) if request.arms else {}
        return stage.measure(info, suite, schedule, request, settled, levels)


def _schedule(
    info: RunInfo, suite: Suite, request: RunRequest | ResumeRequest, records: Sequence[Record] = ()
) -> LaunchSchedule:
    return LaunchSchedule(
        info.cases,
        repeats=info.repeats,
        quality_seeds=_seeds(suite),
        seed=info.seed,
        arms=[arm.name for arm in request.arms] or [None],
        skip_after_oom=request.skip_after_oom,
        records=records,
    )


def preview(request: RunRequest, log: Path) -> tuple[PlannedCase, ...]:
    """The plan of a run on this machine, with nothing measured or stored. `log` takes what the worker hosts write."""
    kept = _selection(request)
    pool = HostPool(log, lambda _: None)
    try:
        hellos = _greet(pool, _cases(request, kept), request.arms)
    finally:
        pool.close()
    planned = plan_cases(request.loaded.suite, request.loaded.cases, hellos, kept, request.arms, _trained(request))
    if request.arms:
        check_cases(request.arms, planned)
        levels_of(request.arms, planned, request.interleave)
    return planned


class _Stage:
    """Hosts and telemetry of a run, open from planning to its end."""

    def __init__(self, writer: RunWriter, listener: Listener) -> None:
        self._writer, self._tell = writer, listener
        self._log = writer.folder / HOST_LOG
        self._pool = HostPool(self._log, self._host_started)
        self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.kill()
        if self._log.exists() and self._log.stat().st_size == 0:
            self._log.unlink()

    def _host_started(self, host: Host) -> None:
        self._tell(HostStarted(host.pid, host.seconds, dict(host.hello.versions), host.hello.devices))

    def greet(self, cases: Sequence[Case], arms: Sequence[Arm]) -> Hellos:
        return _greet(self._pool, cases, arms)

    def planned(
        self, info: RunInfo, request: RunRequest, hellos: Hellos, kept: Callable[[Case], bool] | None
    ) -> tuple[RunInfo, dict[int, Level]]:
        """The run's head with what is known once the hosts have said hello, and how the arms of each case take turns.

        UsageError if the selection keeps nothing, or the arms do not suit the cases.
        """
        planned = plan_cases(request.loaded.suite, request.loaded.cases, hellos, kept, request.arms, _trained(request))
        check_cases(request.arms, planned)
        levels = levels_of(request.arms, planned, request.interleave) if request.arms else {}
        complete = info.model_copy(
            update={
                "cases": planned,
                "interleave": level_of_run(levels) if request.arms else None,
                "versions": {**_versions(hellos), "gpubench": __version__},
                "environment": environment.collect(_versions(hellos), anonymous=request.anonymous),
            }
        )
        self._writer.update_info(complete)
        return complete, levels

    def measure(
        self,
        info: RunInfo,
        suite: Suite,
        schedule: LaunchSchedule,
        request: RunRequest | ResumeRequest,
        settled: Settled | None,
        levels: Mapping[int, Level],
    ) -> RunOutcome:
        self._tell(RunStarted(info, self._writer.folder, schedule.num_launches, schedule.num_done))
        deadline_s = None if request.budget_s is None else self._began_s + request.budget_s
        beside = () if info.suite_path is None else (str(Path(info.suite_path).resolve().parent),)
        arms: Mapping[str | None, Arm | None] = {arm.name: arm for arm in request.arms} or {None: None}
        with Guard() as guard, open_session(suite.measure.telemetry) as telemetry:
            rounds = Rounds(
                suite,
                schedule,
                self._writer,
                telemetry,
                guard,
                self._tell,
                Limits(suite.measure.timeout, deadline_s),
                arms=arms,
                search_path=(*request.search_path, *beside),
                download=request.download,
                settled=settled,
                levels=levels,
                hide=bool(info.environment.get("anonymous")),
            )
            rounds.run(self._pool)
        self._tell(RunFinished(self._writer.folder, guard.stopping, time.monotonic() - self._began_s))
        return RunOutcome(self._writer.folder, info, guard.stopping)


def _greet(pool: HostPool, cases: Sequence[Case], arms: Sequence[Arm]) -> Hellos:
    """A host for every interpreter and environment that the cases name; why where there is none.

    WorkerError if not a single one can be started, or not that of an arm: nothing could be measured, or compared.
    """
    wanted = {HostKey.of(arm.case(case)): arm.name for case in cases for arm in reversed(arms)}
    hellos: dict[HostKey, Hello | str] = {}
    errors = []
    pool.make_room(len(wanted))
    for key in wanted or dict.fromkeys(HostKey.of(case) for case in cases):
        try:
            hellos[key] = pool.get(key).hello
        except WorkerError as error:
            if key in wanted:
                raise WorkerError(f"arm {wanted[key]}: {error}", hint=error.hint) from error
            hellos[key] = str(error)
            errors.append(error)
    if errors and len(errors) == len(hellos):
        raise errors[0]
    return hellos


def _cases(request: RunRequest, kept: Callable[[Case], bool] | None) -> list[Case]:
    """The cases that will be planned. UsageError if there are none."""
    trained = _trained(request) or ()
    cases = [case for case in request.loaded.cases if kept is None or kept(case)]
    cases += [case for case in request.loaded.quality_cases if case.case_id in trained]
    if not cases:
        what = "has no cases" if kept is None else f"has no case that matches {request.selection!r}"
        raise UsageError(
            f"suite {request.loaded.suite.name} {what}",
            hint="`gpubench validate SUITE --cases` lists the cases of a suite.",
        )
    return cases


def num_cases(request: RunRequest) -> int:
    """How many cases are asked for, before it is known which of them this machine can run. UsageError if none."""
    return len(_cases(request, _selection(request)))


def _selection(request: RunRequest) -> Callable[[Case], bool] | None:
    if request.cases:
        measured = _named(request).measured
        return lambda case: case.case_id in measured
    return None if request.selection is None else parse_selection(request.selection).matches


def _trained(request: RunRequest) -> frozenset[CaseId] | None:
    return _named(request).trained if request.cases else None


def _named(request: RunRequest) -> NamedCases:
    loaded = request.loaded
    return named_cases(request.cases, loaded.cases, loaded.quality_cases, overrides=loaded.overrides)


def _info(request: RunRequest, name: str, now: datetime) -> RunInfo:
    """The head as far as it is known before any worker was started."""
    loaded = request.loaded
    return RunInfo(
        run=name,
        suite_name=loaded.suite.name,
        suite=loaded.suite.model_dump(mode="json", by_alias=True, exclude_unset=True),
        suite_digest=loaded.digest,
        suite_path=None if loaded.path is None else str(loaded.path),
        created=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        argv=request.argv,
        tag=request.tag,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        repeats=request.rounds or loaded.suite.measure.repeats,
        selection=request.selection,
        arms=tuple(arm.info for arm in request.arms),
        screen_rounds=request.screen_rounds,
        sesoi=request.sesoi,
    )


def _versions(hellos: Hellos) -> dict[str, str | None]:
    return versions_of({key: hello for key, hello in hellos.items() if isinstance(hello, Hello)})


def _seeds(suite: Suite) -> int:
    return 1 if suite.quality is None else suite.quality.seeds


def _same_machine(info: RunInfo, here: Mapping[str, Any]) -> None:
    """Figures of two GPUs or two versions of torch must not share a run."""
    before, now = environment.comparable(info.environment), environment.comparable(here)
    decisive = [
        name
        for name in before.keys() | now.keys()
        if name.endswith(".name") or name in ("worker.torch", "driver.driver", "cpu.model")
    ]
    moved = [
        f"{name}: {before.get(name)} then, {now.get(name)} now"
        for name in sorted(decisive)
        if before.get(name) != now.get(name)
    ]
    if moved:
        raise UsageError(
            f"run {info.run} was made in another environment ({'; '.join(moved)})",
            hint="Start a new run here, and compare the two.",
        )


def _same_arms(info: RunInfo, arms: Sequence[Arm]) -> None:
    if [arm.name for arm in info.arms] != [arm.name for arm in arms]:
        raise UsageError(
            f"run {info.run} has {_arms_named([arm.name for arm in info.arms])}, "
            f"and is to go on with {_arms_named([arm.name for arm in arms])}"
        )


def _arms_named(names: Sequence[str]) -> str:
    return f"the arms {', '.join(names)}" if names else "no arms"


def _nobody(event: Event) -> None:
    """For a run that nobody watches."""
    assert isinstance(event, Event)
