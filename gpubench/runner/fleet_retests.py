"""The retests of a fleet: suspects are measured again, together with a healthy card, before any is called slow."""

from collections.abc import Callable, Mapping, Sequence

from gpubench.core.errors import WorkerError
from gpubench.core.records import Record
from gpubench.protocol.messages import Job
from gpubench.runner.events import Listener, Notice
from gpubench.runner.launch.attempt import Attempts
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.job_on_host import Limits
from gpubench.runner.launch.recorder import PlannedLaunch, anonymous, record_of
from gpubench.runner.launch.worker_hosts import HostKey, HostPool
from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.suite import Suite

Suspects = Callable[[RunInfo, Sequence[Record]], Mapping[int, tuple[int, tuple[int, ...]]]]
"""Called with the launches of a fleet; returns by case (its index) a healthy card and the suspects, each by its number
(`RankRecord.rank`).
"""


class FleetRetests:
    """Does nothing without a fleet. Failures raise nothing: a suspect without a retest is not named."""

    def __init__(
        self,
        suite: Suite,
        schedule: LaunchSchedule,
        writer: RunWriter,
        attempts: Attempts,
        guard: Guard,
        listener: Listener,
        limits: Limits,
        *,
        suspects: Suspects | None,
        search_path: tuple[str, ...] = (),
        hide: bool = False,
        records: Sequence[Record] = (),
    ) -> None:
        self._suite, self._schedule, self._writer, self._attempts = suite, schedule, writer, attempts
        self._guard, self._tell, self._limits = guard, listener, limits
        self._suspects, self._search_path, self._hide = suspects, search_path, hide
        self._done = {(each.case_index, each.repeat) for each in records if each.kind == "retest"}

    def run(self, pool: HostPool) -> None:
        if self._suite.fleet is None or self._suspects is None or self._ended:
            return
        launches = [record for case in self._schedule.cases for record in self._schedule.records_of(case)]
        again = self._suspects(self._writer.info, launches)
        cases = [case for case in self._schedule.cases if case.index in again]
        if cases:
            number = len({card for each in again.values() for card in each[1]})
            cards = f"{number} card{'s' if number > 1 else ''}"
            self._tell(Notice(f"measuring {cards} again that may be slow, with a healthy one"))
        try:
            for number in range(1, self._suite.fleet.retest_rounds + 1):
                for case in cases:
                    if not self._ended:
                        self._one(case, again[case.index], self._schedule.num_rounds(case) + number, pool)
        finally:
            pool.close(now=self._guard.now)

    @property
    def _ended(self) -> bool:
        return self._guard.stopping or self._limits.used_up

    def _one(self, case: PlannedCase, again: tuple[int, tuple[int, ...]], repeat: int, pool: HostPool) -> None:
        if (case.index, repeat) in self._done:
            return
        launch = PlannedLaunch(case, repeat)
        job = Job(
            job=self._attempts.next_number(),
            case=case.case,
            repeat=repeat,
            suite=self._suite.name,
            label=case.label,
            measure=self._suite.measure,
            seed=case.case.seed,
            log=str(self._writer.log_path(case.index, repeat, None)),
            search_path=self._search_path,
            seats=tuple(sorted({again[0], *again[1]})),
        )
        try:
            pool.get(HostKey.of(case.case))
            outcome = self._attempts.run(pool, job, case.label)
        except WorkerError as error:
            self._tell(Notice(f"cards of {case.label!r} could not be measured again: {error}"))
            return
        if outcome.status is not None:
            record = record_of(launch, outcome, self._writer.write_samples)
            record = record.model_copy(update={"kind": "retest"})
            self._writer.append(anonymous(record) if self._hide else record)
