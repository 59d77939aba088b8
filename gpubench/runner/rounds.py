"""The rounds of a run: each launch in turn is measured, recorded and reported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from gpubench.core.errors import WorkerError
from gpubench.core.findings import finding
from gpubench.core.records import Failure, Record, Status
from gpubench.protocol.messages import Job, JobArm
from gpubench.runner.arms.arm import Arm, Level
from gpubench.runner.block_launches import BlockLaunches
from gpubench.runner.contest.free_cpus import leaves_threads_open, threads_beside_others, with_threads
from gpubench.runner.events import CaseFinished, LaunchFinished, LaunchStarted, Notice, RoundFinished
from gpubench.runner.launch.recorder import PlannedLaunch, record_of, unmeasured
from gpubench.runner.launch.worker_hosts import HostKey, HostPool
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import OUT_OF_BUDGET, LaunchSchedule
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import Case

Settled = Callable[[PlannedCase, tuple[Record, ...]], bool]
"""Called after each round of an A/B with a case and its records so far; True if it needs no more rounds."""


class Rounds:
    """Runs the launches of a schedule. Worker failures never abort the run; only an unwritable store does."""

    def __init__(
        self,
        context: RunContext,
        schedule: LaunchSchedule,
        *,
        arms: Mapping[str | None, Arm | None],
        settled: Settled | None = None,
        levels: Mapping[int, Level] | None = None,
    ) -> None:
        self._context, self._schedule, self._arms, self._settled = context, schedule, arms, settled
        self._blocks = BlockLaunches(context, schedule, levels or {})
        self._began_s = self._context.limits.clock()
        self._done_before = schedule.num_done
        self._finished: set[int] = {case.index for case in schedule.cases if schedule.over(case)}

    def run(self, pool: HostPool) -> None:
        """Runs every round. `pool` holds the hosts started for planning, which the first round uses."""
        try:
            self._settle(self._schedule.cases)
            for group in self._schedule.groups:
                self._rounds_of(group, pool)
        finally:
            pool.close(now=self._context.guard.now)
        if self._context.limits.used_up and not self._context.guard.stopping:
            self._out_of_budget()

    def _rounds_of(self, group: Sequence[PlannedCase], pool: HostPool) -> None:
        for number in self._schedule.rounds:
            launches = self._schedule.round(number, group)
            if self._schedule.is_measuring(number) and number > 1 and launches:
                # A new host each round: children of one host share its memory layout.
                pool.close()
            for launch in launches:
                if not self._context.ended:
                    self._one(launch, pool)
            self._settle(list({launch.case.index: launch.case for launch in launches}.values()))
            if self._context.ended:
                break

    def _settle(self, cases: Sequence[PlannedCase]) -> None:
        """Removes from the schedule cases that are precise enough, judged, or have an arm that ended for good."""
        if None in self._arms:
            for case in cases:
                if self._schedule.settle_if_known(case):
                    self._case_over(case)
            return
        for case in cases:
            records = self._schedule.records_of(case)
            if not records or case.kind != "measure" or case.index in self._finished:
                continue
            settled = self._settled is not None and self._settled(case, records)
            self._context.tell(RoundFinished(case, records, max(record.repeat for record in records)))
            if settled or self._schedule.one_sided(case):
                self._schedule.settle(case)
            if self._schedule.over(case):
                self._case_over(case)

    def _one(self, launch: PlannedLaunch, pool: HostPool) -> None:
        if not self._schedule.is_left(launch):
            return
        reason = self._schedule.why_skip(launch)
        repeats = self._schedule.num_rounds(launch.case)
        if reason is None and self._blocks.wanted(launch):
            self._context.tell(LaunchStarted(launch.case, launch.repeat, repeats))
            records = self._blocks.measure(self._block_job(launch), launch, pool)
            for each in records or ():
                self._store(each, launch)
            if records is not None:
                return
        self._context.tell(LaunchStarted(launch.case, launch.repeat, repeats, launch.arm))
        record = unmeasured(launch, Status.SKIPPED, reason) if reason is not None else self._measured(launch, pool)
        if record is not None:
            self._store(record, launch)

    def _store(self, record: Record, launch: PlannedLaunch) -> None:
        record = self._context.writer.append(record)
        self._schedule.note(record)
        self._context.tell(LaunchFinished(launch.case, record, self._schedule.num_done, self._schedule.num_launches))
        if self._schedule.over(launch.case) and (None in self._arms or launch.case.kind == "quality"):
            self._case_over(launch.case)

    def _case_over(self, case: PlannedCase) -> None:
        if case.index in self._finished:
            return
        self._finished.add(case.index)
        elapsed_s = self._context.limits.clock() - self._began_s
        fresh = self._schedule.num_done - self._done_before
        remaining_s = elapsed_s / fresh * self._schedule.num_left if fresh else None
        counts = len(self._finished), len(self._schedule.cases)
        self._context.tell(CaseFinished(case, self._schedule.records_of(case), *counts, elapsed_s, remaining_s))

    def _measured(self, launch: PlannedLaunch, pool: HostPool) -> Record | None:
        """None if the launch was stopped before it had anything to store."""
        arm = self._arms.get(launch.arm)
        case = launch.case.case if arm is None else arm.case(launch.case.case)
        is_open = launch.case.kind == "quality" and leaves_threads_open(case)
        threads = self._threads_to_train if is_open else None
        case = with_threads(case, threads)
        try:
            pool.get(HostKey.of(case))  # must come before the job makes a folder for its log
            outcome = self._context.attempts.run(pool, self._job(launch, case), launch.case.label)
        except WorkerError as error:
            failure = Failure(phase="starting", error="WorkerError", message=f"{error} {error.hint}".strip())
            return unmeasured(launch, Status.FAILED, str(error), failure=failure)
        if outcome.status is None:
            return None
        record = record_of(launch, outcome, self._context.writer.write_samples, self._blocks.why_not(launch.case))
        return record if threads is None else _without_training_time(record, threads)

    @cached_property
    def _threads_to_train(self) -> int | None:
        """Threads for trainings on a CPU, looked at before the first one; None: torch's own number."""
        measured = [each for each in self._schedule.cases if each.kind == "measure" and each.case.device_type == "cpu"]
        return threads_beside_others([record for each in measured for record in self._schedule.records_of(each)])

    def _job(self, launch: PlannedLaunch, case: Case) -> Job:
        context, suite = self._context, self._context.suite
        quality = launch.case.kind == "quality"
        largest = None
        if case.batch_size == "max":  # all launches use the batch that the first one found
            before = [record for record in self._schedule.records_of(launch.case) if record.arm == launch.arm]
            done = [record.effective.batch_size for record in before if record.status is Status.OK and record.effective]
            largest = done[0] if done else None
        return Job(
            job=context.attempts.next_number(),
            kind=launch.case.kind,
            case=case,
            largest_batch=largest,
            repeat=launch.repeat,
            suite=suite.name,
            label=launch.case.label,
            measure=suite.measure,
            quality=suite.quality if quality else None,
            parity=suite.measure.parity and launch.repeat == 1,
            seed=case.seed + launch.repeat - 1 if quality else case.seed,
            log=str(context.writer.log_path(launch.case.index, launch.repeat, launch.arm)),
            search_path=context.search_path,
            download=context.download,
            seats=None if suite.fleet is None else (),
        )

    def _block_job(self, launch: PlannedLaunch) -> Job:
        """All arms of the case in one job; `BlockLaunches` fills in the rest."""
        arms = [JobArm(name=arm.name, case=arm.case(launch.case.case)) for arm in self._arms.values() if arm]
        job = self._job(replace(launch, arm=None), arms[0].case)
        return job.model_copy(update={"kind": "blocks", "arms": tuple(arms)})

    def _out_of_budget(self) -> None:
        missing = self._schedule.missing()
        for launch in missing:
            # The launch cut short by the budget keeps what it measured.
            if not self._schedule.has_figure(launch):
                why = finding("GB105", f"Launch {launch.repeat} and those after it were left out: {OUT_OF_BUDGET}.")
                self._store(unmeasured(launch, Status.SKIPPED, OUT_OF_BUDGET, why), launch)
        if missing:
            left = self._schedule.num_left
            self._context.tell(Notice(f"{OUT_OF_BUDGET}: {left} launches were left out", "`--resume` measures them."))


def _without_training_time(record: Record, threads: int) -> Record:
    """The record of a training with fewer threads than asked: its scores stand, its time does not."""
    few = finding("GB218", f"Trained with {threads} CPU {'thread' if threads == 1 else 'threads'}: others use the CPU.")
    why = f"other programs used the CPU, so the training had {threads} of its threads"
    return record.model_copy(
        update={
            "metrics": {**record.metrics, "time_to_accuracy_s": None},
            "absent": {"time_to_accuracy_s": why, **record.absent},
            "findings": (*record.findings, few),
        }
    )
