"""Launches of all arms of a case in alternating blocks, and the fallback to one launch per arm."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gpubench.core.errors import WorkerError
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Record, Status
from gpubench.core.units import format_percent
from gpubench.protocol.messages import Failed, Job, Result, SelfCheck
from gpubench.runner.arms.arm import Level
from gpubench.runner.events import Notice
from gpubench.runner.launch.recorder import PlannedLaunch, record_of, shared
from gpubench.runner.launch.worker_hosts import HostPool
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_info import PlannedCase

FELL_BACK = ("GB106", "GB107")

LIMIT = math.log(1.015)
P_VALUE = 0.006


@dataclass(frozen=True)
class Suspicion:
    """A ratio (as its log) that should be 1: of two replicas, or of a block after another arm to one after the same
    arm.
    """

    kind: str
    log_ratio: float

    def confirmed_by(self, other: "Suspicion | None") -> bool:
        return other is not None and other.kind == self.kind and (other.log_ratio > 0) == (self.log_ratio > 0)

    def __str__(self) -> str:
        return f"{self.kind} took {format_percent(math.expm1(self.log_ratio), signed=True)}"


def suspicion(check: SelfCheck | None) -> Suspicion | None:
    """What is suspicious in a self-check; None if nothing is, or there was none."""
    if check is None:
        return None
    apart = check.low is not None and check.high is not None and (check.low > 0 or check.high < 0)
    if apart and abs(check.twin) >= LIMIT:
        return Suspicion("the same arm, measured twice,", check.twin)
    if (
        check.after_other is not None
        and check.p_value is not None
        and check.p_value <= P_VALUE
        and abs(check.after_other) >= LIMIT
    ):
        return Suspicion("a block after another arm's", check.after_other)
    return None


class BlockLaunches:
    """Measures cases in alternating blocks. Their records show which cases fell back, so that a resumed run goes on
    alike.
    """

    def __init__(self, context: RunContext, schedule: LaunchSchedule, levels: Mapping[int, Level]) -> None:
        self._context, self._schedule, self._levels = context, schedule, levels
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
        """Why a case fell back to launches, for its records."""
        found = self._fallen.get(case.index)
        return () if found is None or case.kind != "measure" else (found,)

    def measure(self, job: Job, launch: PlannedLaunch, pool: HostPool) -> tuple[Record, ...] | None:
        """Records of all arms (empty if the launch was stopped before there were any); None: measure each arm by
        itself.

        The first launch of a case checks that an arm equals itself; a difference counts only if a second process
        confirms it.
        """
        order = random.Random(f"{self._schedule.seed}/{launch.case.index}/{launch.repeat}").randrange(2**31)
        first = launch.case.index not in self._proven
        job = job.model_copy(update={"order": order, "twin": first})
        done = self._attempt(job, launch, pool)
        if done is None:
            return None
        records, suspected = done
        if suspected is None or self._context.guard.stopping:
            return records
        hint = "Alternating may not suit this case: it is checked once more."
        self._context.tell(Notice(f"{launch.case.label!r}: {suspected}", hint))
        pool.close()
        job = job.model_copy(update={"order": order + 1, "job": self._context.attempts.next_number()})
        again = self._attempt(job, launch, pool)
        if again is None or not suspected.confirmed_by(again[1]):
            fresh = again[0] if again is not None else ()
            return fresh if fresh and all(record.status is Status.OK for record in fresh) else records
        message = (
            f"In alternating blocks {suspected}, and {again[1]} in a second process; "
            "the arms were measured in launches instead."
        )
        self._fall_back(launch.case, finding("GB107", message, log_ratio=suspected.log_ratio))
        return None

    def _attempt(
        self, job: Job, launch: PlannedLaunch, pool: HostPool
    ) -> tuple[tuple[Record, ...], Suspicion | None] | None:
        try:
            outcome = self._context.attempts.run(pool, job, launch.case.label, times=len(job.arms) + job.twin)
        except WorkerError as error:
            self._fall_back(launch.case, finding("GB106", f"No worker could be started for all arms: {error}."))
            return None
        if outcome.status is None:
            return (), None
        answer = outcome.answer
        if not isinstance(answer, Result) or not answer.arms:
            # Separate processes will show which arm it was.
            codes = {each.code for each in answer.findings} if answer else set()
            own = isinstance(answer, Failed) and (answer.status != "failed" or "GB301" in codes)
            if own or launch.case.index not in self._proven:
                reason = outcome.reason or "it failed"
                self._fall_back(launch.case, finding("GB106", f"The arms did not run in one process: {reason}."))
                return None
            outcome = replace(outcome, window=None)
            arms = [replace(launch, arm=name) for name in self._schedule.arms]
            return tuple(record_of(each, outcome, self._context.writer.write_samples) for each in arms), None
        window, noticed = shared(outcome.window), (*answer.findings, *outcome.noticed)
        records: list[Record] = []
        for arm, figures in zip(job.arms, answer.arms, strict=True):
            figures = figures.model_copy(update={"files": answer.files})
            if not records:
                figures = figures.model_copy(update={"marks": answer.marks | figures.marks})
            mine = replace(outcome, answer=figures, window=window, noticed=noticed).judge()
            records.append(record_of(replace(launch, arm=arm.name), mine, self._context.writer.write_samples))
            self._remember(records[-1])
        return tuple(records), suspicion(answer.self_check)

    def _remember(self, record: Record) -> None:
        if record.block_log_ratio is not None and record.status is Status.OK:
            self._proven.add(record.case_index)
        for entry in record.findings:
            if entry.code in FELL_BACK:
                self._fallen[record.case_index] = entry

    def _fall_back(self, case: PlannedCase, why: Finding) -> None:
        self._fallen[case.index] = why
        self._context.tell(
            Notice(f"{case.label!r}: {why.message}", "From now on the case's arms take turns in separate launches.")
        )
