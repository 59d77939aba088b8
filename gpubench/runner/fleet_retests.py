"""The retests of a fleet: suspects are measured again, together with a healthy card, before any is called slow."""

from collections.abc import Callable, Mapping, Sequence

from gpubench.core.errors import WorkerError
from gpubench.core.records import Record
from gpubench.protocol.messages import Job
from gpubench.runner.events import Notice
from gpubench.runner.launch.recorder import PlannedLaunch, record_of
from gpubench.runner.launch.worker_hosts import HostKey, HostPool
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_info import PlannedCase, RunInfo

Suspects = Callable[[RunInfo, Sequence[Record]], Mapping[int, tuple[int, tuple[int, ...]]]]
"""Called with the launches of a fleet; returns by case (its index) a healthy card and the suspects, each by its number
(`RankRecord.rank`).
"""


class FleetRetests:
    """Does nothing without a fleet. Failures raise nothing: a suspect without a retest is not named."""

    def __init__(
        self,
        context: RunContext,
        schedule: LaunchSchedule,
        *,
        suspects: Suspects | None,
        records: Sequence[Record] = (),
    ) -> None:
        self._context, self._schedule, self._suspects = context, schedule, suspects
        self._done = {(each.case_index, each.repeat) for each in records if each.kind == "retest"}

    def run(self, pool: HostPool) -> None:
        if self._context.suite.fleet is None or self._suspects is None or self._context.ended:
            return
        launches = [record for case in self._schedule.cases for record in self._schedule.records_of(case)]
        again = self._suspects(self._context.writer.info, launches)
        cases = [case for case in self._schedule.cases if case.index in again]
        if cases:
            number = len({card for each in again.values() for card in each[1]})
            cards = f"{number} card{'s' if number > 1 else ''}"
            self._context.tell(Notice(f"measuring {cards} again that may be slow, with a healthy one"))
        try:
            for number in range(1, self._context.suite.fleet.retest_rounds + 1):
                for case in cases:
                    if not self._context.ended:
                        self._one(case, again[case.index], self._schedule.num_rounds(case) + number, pool)
        finally:
            pool.close(now=self._context.guard.now)

    def _one(self, case: PlannedCase, again: tuple[int, tuple[int, ...]], repeat: int, pool: HostPool) -> None:
        if (case.index, repeat) in self._done:
            return
        launch = PlannedLaunch(case, repeat)
        job = Job(
            job=self._context.attempts.next_number(),
            case=case.case,
            repeat=repeat,
            suite=self._context.suite.name,
            label=case.label,
            measure=self._context.suite.measure,
            seed=case.case.seed,
            log=str(self._context.writer.log_path(case.index, repeat, None)),
            search_path=self._context.search_path,
            seats=tuple(sorted({again[0], *again[1]})),
        )
        try:
            pool.get(HostKey.of(case.case))
            outcome = self._context.attempts.run(pool, job, case.label)
        except WorkerError as error:
            self._context.tell(Notice(f"cards of {case.label!r} could not be measured again: {error}"))
            return
        if outcome.status is not None:
            record = record_of(launch, outcome, self._context.writer.write_samples)
            record = record.model_copy(update={"kind": "retest"})
            self._context.writer.append(record)
