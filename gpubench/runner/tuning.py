"""A run whose cases are chosen step by step, from what has been measured so far."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gpubench.core.records import ContestRecord, Record
from gpubench.runner.contest.contests import Contests
from gpubench.runner.launch.worker_hosts import HostPool
from gpubench.runner.rounds import Rounds
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import LaunchSchedule
from gpubench.runner.stored_run import origin_of
from gpubench.store.run_info import PlannedCase
from gpubench.store.run_reader import load_run


@dataclass(frozen=True)
class TuneStep:
    """What to measure next, as case ids: launch number `repeat` of those in `launch` that lack it, a round of contests
    among `contest` (with a `twin` of the first case), and quality runs of `train`.
    """

    launch: tuple[str, ...] = ()
    contest: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    repeat: int = 1
    twin: bool = False


NextStep = Callable[[Sequence[PlannedCase], Sequence[Record], Sequence[ContestRecord], float | None], TuneStep | None]
"""Called with the cases planned so far, their records, and the seconds left (None: no limit); returns the next step."""


class Tuning:
    """Runs steps until there are no more. `grid` holds every case that a step may name, planned but not numbered."""

    def __init__(self, context: RunContext, grid: Mapping[str, PlannedCase], next_step: NextStep) -> None:
        self._context, self._grid, self._next = context, grid, next_step

    def run(self, pool: HostPool) -> None:
        try:
            while not self._context.ended:
                run = load_run(self._context.writer.folder)
                step = self._next(run.info.cases, run.records, run.contests, self._context.limits.left_s)
                if step is None:
                    return
                self._plan([*step.launch, *step.train])
                self._do(step, run.records, run.contests, pool)
                after = load_run(self._context.writer.folder)
                if (len(after.records), len(after.contests)) == (len(run.records), len(run.contests)):
                    return  # stopped, or nothing in the step can be measured: the next step would be the same
        finally:
            pool.close(now=self._context.guard.now)

    def _plan(self, names: Sequence[str]) -> None:
        """Adds cases to the run when they are first measured, in that order."""
        info = self._context.writer.info
        known = {key_of(case) for case in info.cases}
        fresh = [self._grid[name] for name in names if name not in known]
        if fresh:
            numbered = [
                case.model_copy(update={"index": len(info.cases) + at}) for at, case in enumerate(fresh, start=1)
            ]
            info = info.model_copy(update={"cases": (*info.cases, *numbered)})
            self._context.writer.update_info(info.model_copy(update={"origin": origin_of(info)}))

    def _do(self, step: TuneStep, records: Sequence[Record], contests: Sequence[ContestRecord], pool: HostPool) -> None:
        cases = {key_of(case): case for case in self._context.writer.info.cases}
        launched = [cases[name] for name in (*step.launch, *step.train)]
        if launched:
            schedule = self._schedule(launched, step.repeat, records)
            Rounds(self._context, schedule, arms={None: None}).run(pool)
        if step.contest:
            schedule = self._schedule(list(cases.values()), step.repeat, records)
            wanted = [cases[name] for name in step.contest]
            Contests(self._context, schedule, records=contests).hold_round(wanted, pool, twin=step.twin)

    def _schedule(self, cases: Sequence[PlannedCase], repeats: int, records: Sequence[Record]) -> LaunchSchedule:
        quality = self._context.suite.quality
        return LaunchSchedule(
            cases,
            repeats=repeats,
            quality_seeds=1 if quality is None else quality.seeds,
            seed=self._context.writer.info.seed,
            records=records,
        )


def key_of(case: PlannedCase) -> str:
    """The case's name in a step; a quality run may have the same id as a measured case."""
    return case.case_id if case.kind == "measure" else f"quality {case.case_id}"
