"""Launches that hold all arms of a case, in alternating blocks; and the way back to launches of their own where that
fails.
"""

import random
from collections.abc import Mapping
from dataclasses import replace

from gpubench.core.errors import WorkerError
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Record, Status
from gpubench.protocol.messages import Failed, Job, Result
from gpubench.runner.arms.carry_over import Suspicion, suspicion
from gpubench.runner.arms.levels import Level
from gpubench.runner.events import Listener, Notice
from gpubench.runner.launch.attempt import Attempted, Attempts
from gpubench.runner.launch.guard import Guard
from gpubench.runner.launch.outcome import meaning
from gpubench.runner.launch.planned_launch import PlannedLaunch
from gpubench.runner.launch.recorder import record_of, shared
from gpubench.runner.launch.worker_hosts import Host, HostKey, HostPool
from gpubench.runner.schedule import Schedule
from gpubench.store.run_info import PlannedCase
from gpubench.store.run_writer import RunWriter

FELL_BACK = ("GB106", "GB107")


class BlockLaunches:
    """Which cases alternate in one process is remembered in their records, so that a resumed run goes on as it was."""

    def __init__(
        self,
        attempts: Attempts,
        writer: RunWriter,
        guard: Guard,
        listener: Listener,
        schedule: Schedule,
        levels: Mapping[int, Level],
    ) -> None:
        self._attempts, self._writer, self._guard, self._tell = attempts, writer, guard, listener
        self._schedule, self._levels = schedule, levels
        self._fallen: dict[int, Finding] = {}
        self._proven: set[int] = set()
        for case in schedule.cases:
            for record in schedule.records_of(case):
                self._remember(record)

    def wanted(self, launch: PlannedLaunch) -> bool:
        """Whether the launch's case is measured with all of its arms in one process."""
        index = launch.case.index
        return launch.case.kind == "measure" and self._levels.get(index) == "block" and index not in self._fallen

    def why_not(self, case: PlannedCase) -> tuple[Finding, ...]:
        """For the records of a case that went back to launches."""
        found = self._fallen.get(case.index)
        return () if found is None or case.kind != "measure" else (found,)

    def measure(self, job: Job, launch: PlannedLaunch, pool: HostPool) -> tuple[Record, ...] | None:
        """Records of every arm (none where the launch was stopped before it had any); None: measure the arms by
        themselves.

        The first launch of a case checks that an arm equals itself; a difference has to show again in another process
        before it counts.
        """
        order = random.Random(f"{self._schedule.seed}/{launch.case.index}/{launch.repeat}").randrange(2**31)
        first = launch.case.index not in self._proven
        job = job.model_copy(update={"order": order, "twin": first})
        done = self._attempt(job, launch, pool)
        if done is None:
            return None
        records, suspected = done
        if suspected is None or self._guard.stopping:
            return records
        self._tell(
            Notice(
                f"{launch.case.label!r}: {suspected}", "Alternating may not suit this case: it is checked once more."
            )
        )
        pool.close()
        again = self._attempt(
            job.model_copy(update={"order": order + 1, "job": self._attempts.next_number()}), launch, pool
        )
        if again is None or not suspected.confirmed_by(again[1]):
            fresh = again[0] if again is not None else ()
            return fresh if fresh and all(record.status is Status.OK for record in fresh) else records
        message = f"In alternating blocks {suspected}, and {again[1]} in a second process; the arms were measured in launches instead."
        self._fall_back(launch.case, finding("GB107", message, log_ratio=suspected.log_ratio))
        return None

    def _attempt(
        self, job: Job, launch: PlannedLaunch, pool: HostPool
    ) -> tuple[tuple[Record, ...], Suspicion | None] | None:
        try:
            host, done = self._run(job, launch, pool)
        except WorkerError as error:
            self._fall_back(launch.case, finding("GB106", f"No worker could be started for all arms: {error}."))
            return None
        if done.means.status is None:
            return (), None
        outcome = done.ending.outcome
        if not isinstance(outcome, Result):
            return self._failed(launch, host, done)
        records = tuple(self._record(launch, host, done, outcome, at, arm.name) for at, arm in enumerate(job.arms))
        for record in records:
            self._remember(record)
        return records, suspicion(outcome.self_check)

    def _run(self, job: Job, launch: PlannedLaunch, pool: HostPool) -> tuple[Host, Attempted]:
        """A host that dies under the job is replaced, and the job tried once more."""
        host = pool.get(HostKey.of(job.case))
        times = len(job.arms) + job.twin
        done = self._attempts.run(host, job, times=times)
        if done.ending.host_lost is None:
            return host, done
        pool.discard(host)
        if self._guard.stopping:
            return host, done
        hint = "A new one is started, and the launch is done again."
        self._tell(Notice(f"{done.ending.host_lost} during {launch.case.label!r}", hint))
        host = pool.get(HostKey.of(job.case))
        done = self._attempts.run(host, job.model_copy(update={"job": self._attempts.next_number()}), times=times)
        if done.ending.host_lost is not None:
            pool.discard(host)
        return host, done

    def _failed(self, launch: PlannedLaunch, host: Host, done: Attempted) -> tuple[tuple[Record, ...], None] | None:
        """A failure of the whole job. Which arm it was is found out where each has a process of its own."""
        outcome, reason = done.ending.outcome, done.means.reason or "it failed"
        needs_own = isinstance(outcome, Failed) and (
            outcome.status != "failed" or any(each.code == "GB301" for each in outcome.findings)
        )
        if needs_own or launch.case.index not in self._proven:
            self._fall_back(launch.case, finding("GB106", f"The arms did not run in one process: {reason}."))
            return None
        arms = [replace(launch, arm=name) for name in self._schedule.arms]
        records = [
            record_of(
                each,
                host,
                done.ending,
                done.means,
                done.clocked,
                telemetry=None,
                findings=done.findings,
                write=self._writer.write_samples,
            )
            for each in arms
        ]
        return tuple(records), None

    def _record(self, launch: PlannedLaunch, host: Host, done: Attempted, outcome: Result, at: int, arm: str) -> Record:
        own = outcome.arms[at]
        if at == 0:
            own = own.model_copy(update={"marks": outcome.marks | own.marks})
        ending = replace(done.ending, outcome=own)
        means = meaning(ending, timeout_s=0.0, log=done.log)
        return record_of(
            replace(launch, arm=arm),
            host,
            ending,
            means,
            done.clocked,
            telemetry=shared(done.window),
            findings=(*outcome.findings, *done.findings),
            write=self._writer.write_samples,
        )

    def _remember(self, record: Record) -> None:
        if record.block_log_ratio is not None and record.status is Status.OK:
            self._proven.add(record.case_index)
        for entry in record.findings:
            if entry.code in FELL_BACK:
                self._fallen[record.case_index] = entry

    def _fall_back(self, case: PlannedCase, why: Finding) -> None:
        self._fallen[case.index] = why
        self._tell(Notice(f"{case.label!r}: {why.message}", "Its arms take turns in launches of their own."))
