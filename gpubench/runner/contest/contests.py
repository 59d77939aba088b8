"""The contests of a run: after the launches, cases take turns in processes of their contest, round by round."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gpubench.core.errors import WorkerError
from gpubench.core.records import ContestRecord, Failure, Record, Status, latest_contests
from gpubench.machine.control_groups import memory_limit
from gpubench.machine.host_facts import memory_bytes
from gpubench.protocol.messages import Job, JobArm, Result
from gpubench.runner.contest.free_cpus import leaves_threads_open, threads_beside_others, with_threads
from gpubench.runner.contest.groups import (
    LEAST_ROUNDS,
    MOST_CASES,
    MOST_ROUNDS,
    ContestGroup,
    Part,
    contest_groups,
    is_valid,
    parts_of,
    process_measure,
)
from gpubench.runner.events import ContestFinished, ContestStarted, Notice
from gpubench.runner.launch.outcome import LaunchOutcome
from gpubench.runner.launch.worker_hosts import HostKey, HostPool, device_index
from gpubench.runner.run_context import RunContext
from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_info import PlannedCase
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import ContestSettings

MOST_OVERTIME = 2.0
"""Factor by which the least rounds may exceed the budget."""

_MEMORY_SHARE = 0.8

StillWanted = Callable[[Sequence[PlannedCase], Sequence[Record], Sequence[ContestRecord]], AbstractSet[int]]
"""Called after each round with a contest's cases, their launches and its processes so far; returns the cases (by index)
that need another round.
"""


@dataclass
class _Contest:
    """A running contest. `most`: cases per process; `most_s`: time limit of all its processes together."""

    group: ContestGroup
    budget_s: float
    most_s: float
    launches: Sequence[Record]
    mine: list[ContestRecord]
    sizes: Mapping[int, int]
    threads: int | None
    twin: bool
    most: int


class Contests:
    """Runs the contests of a suite. A failed process is recorded and ends its contest; the run goes on."""

    def __init__(
        self,
        context: RunContext,
        schedule: LaunchSchedule,
        *,
        still_wanted: StillWanted | None = None,
        records: Sequence[ContestRecord] = (),
    ) -> None:
        self._context, self._schedule, self._still_wanted = context, schedule, still_wanted
        self._records = latest_contests(records)

    def run(self, pool: HostPool) -> None:
        """Runs every contest of the suite; none if switched off, or if the run has arms, which take turns already."""
        settings = self._context.suite.contest
        if settings is None or self._schedule.arms != (None,):
            return
        valid = [case for case in self._schedule.cases if is_valid(self._schedule.records_of(case))]
        try:
            for group in contest_groups(valid):
                if not self._context.ended:
                    self._hold(group, settings.budget, pool)
        finally:
            pool.close(now=self._context.guard.now)

    def _hold(self, group: ContestGroup, budget_s: float, pool: HostPool) -> None:
        contest = self._begun(group, budget_s)
        for number in range(1, MOST_ROUNDS + 1):
            wanted = self._wanted(group, contest.launches, [each for each in contest.mine if each.round < number])
            if len(wanted) < 2 or (number > LEAST_ROUNDS and _seconds(contest.mine) > budget_s):
                return
            if not self._round(contest, wanted, number, pool):
                return

    def hold_round(self, wanted: Sequence[PlannedCase], pool: HostPool, *, twin: bool) -> None:
        """Runs one more round of every contest with two or more of these cases, whatever the suite's budget."""
        budget_s = (self._context.suite.contest or ContestSettings()).budget
        indices = {case.index for case in wanted}
        valid = [case for case in self._schedule.cases if is_valid(self._schedule.records_of(case))]
        try:
            for group in contest_groups(valid):
                mine = [case for case in group.cases if case.index in {*indices, group.first.index}]
                if len(mine) > 1 and not self._context.ended:
                    contest = self._begun(group, budget_s, most_s=math.inf, twin=twin)
                    self._round(contest, mine, max((each.round for each in contest.mine), default=0) + 1, pool)
        finally:
            pool.close(now=self._context.guard.now)

    def _begun(
        self, group: ContestGroup, budget_s: float, *, most_s: float | None = None, twin: bool = True
    ) -> "_Contest":
        launches = [record for case in group.cases for record in self._schedule.records_of(case)]
        mine = [record for record in self._records if record.cases[0] == group.first.index]
        sizes = {case.index: _bytes_of(self._schedule.records_of(case), case.case) for case in group.cases}
        threads = self._threads(group, launches, mine)
        too_many = [len(record.cases) for record in mine if record.status is Status.OOM]
        most = max(2, min([2 * MOST_CASES, *too_many]) // 2)
        return _Contest(group, budget_s, most_s or MOST_OVERTIME * budget_s, launches, mine, sizes, threads, twin, most)

    def _round(self, contest: "_Contest", wanted: Sequence[PlannedCase], number: int, pool: HostPool) -> bool:
        """Runs every part of a round that has no record yet; returns whether the contest may go on."""
        group, mine = contest.group, contest.mine
        fresh = False
        parts = parts_of(group, wanted, contest.sizes, self._room(group, pool), contest.most)
        for place, part in enumerate(parts, start=1):
            if any((each.round, each.part, each.status) == (number, place, Status.OK) for each in mine):
                continue
            if self._context.ended or _seconds(mine) > contest.most_s:
                return False
            if not fresh:
                pool.close()  # children of one host share its memory layout
                fresh = True
            self._context.tell(ContestStarted(group.label, len(part), number, MOST_ROUNDS))
            record = self._process(contest, part, number, place, pool)
            if record is None:
                return False
            record = self._context.writer.append_contest(record)
            mine.append(record)
            self._context.tell(ContestFinished(record))
            if record.status is not Status.OK:
                if record.status is not Status.OOM or len(part) <= 2:
                    why = f"contest {group.label}: {record.reason}"
                    self._context.tell(Notice(why, "Its cases keep their launches."))
                    return False
                contest.most = max(2, len(part) // 2)
        return True

    def _wanted(
        self, group: ContestGroup, launches: Sequence[Record], before: Sequence[ContestRecord]
    ) -> list[PlannedCase]:
        rounds = {each.round for each in before if each.status is Status.OK}
        if len(rounds) < LEAST_ROUNDS:
            return list(group.cases)
        if self._still_wanted is None:
            return []
        wanted = {*self._still_wanted(group.cases, launches, before)}
        if not wanted:
            return []
        return [case for case in group.cases if case.index in {*wanted, group.first.index}]

    def _threads(self, group: ContestGroup, launches: Sequence[Record], before: Sequence[ContestRecord]) -> int | None:
        """The number of threads, the same for all processes of a contest; None: torch's own."""
        if not leaves_threads_open(group.first.case):
            return None
        if before:
            return before[0].threads_asked
        threads = threads_beside_others(launches)
        if threads is not None:
            self._context.tell(
                Notice(
                    f"contest {group.label}: others use the CPU, so cases take turns with {threads} of its threads",
                    "Levels of launches are of all threads: a ratio may differ between the two.",
                )
            )
        return threads

    def _room(self, group: ContestGroup, pool: HostPool) -> int | None:
        """Bytes that the arms in one process may use together."""
        first = group.first.case
        if first.device_type != "cuda":
            limit, machine = memory_limit(), memory_bytes()
            known = [each for each in (limit and limit.limit_bytes, machine) if each]
            return int(_MEMORY_SHARE * min(known)) if known else None
        devices = pool.get(HostKey.of(first)).hello.devices
        totals = [each.get("total_bytes") for each in devices if each.get("index") == device_index(first)]
        return int(_MEMORY_SHARE * totals[0]) if totals and totals[0] else None

    def _process(
        self, contest: "_Contest", part: Part, number: int, place: int, pool: HostPool
    ) -> ContestRecord | None:
        """None if it was stopped before there was anything to store."""
        group = contest.group
        head = {
            "cases": tuple(case.index for case in part),
            "label": group.label,
            "round": number,
            "part": place,
            "threads_asked": contest.threads,
        }
        try:
            outcome = self._context.attempts.run(
                pool, self._job(contest, part, number, place), group.label, times=len(part) + contest.twin
            )
        except WorkerError as error:
            failure = Failure(phase="starting", error="WorkerError", message=f"{error} {error.hint}".strip())
            return ContestRecord.model_validate(
                {**head, "status": Status.FAILED, "reason": str(error), "failure": failure}
            )
        cut_short = isinstance(outcome.answer, Result) and outcome.answer.interrupted
        if outcome.status is None or cut_short:
            return None
        name = f"contest-{group.first.index:04d}-{number}-{place}"
        return ContestRecord.model_validate({**head, **_told(outcome, self._context.writer, name)})

    def _job(self, contest: "_Contest", part: Part, number: int, place: int) -> Job:
        group = contest.group
        cases = [with_threads(entry.case, contest.threads) for entry in part]
        arms = tuple(JobArm(name=str(entry.index), case=case) for entry, case in zip(part, cases, strict=True))
        seed = f"{self._schedule.seed}/contest/{group.first.index}/{number}/{place}"
        return Job(
            job=self._context.attempts.next_number(),
            kind="contest",
            case=cases[0],
            arms=arms,
            order=random.Random(seed).randrange(2**31),
            twin=contest.twin,
            repeat=number,
            suite=self._context.suite.name,
            label=group.label,
            measure=process_measure(self._context.suite.measure, contest.budget_s, len(part) + contest.twin),
            seed=cases[0].seed,
            log=str(self._context.writer.log_path(group.first.index, number, f"contest{place}")),
            search_path=self._context.search_path,
            download=self._context.download,
        )


def _seconds(records: Sequence[ContestRecord]) -> float:
    """Time of the processes, without starting their hosts, which takes longest when a contest needs its rounds most."""
    return math.fsum(record.wall_s or 0.0 for record in records)


def _bytes_of(records: Sequence[Record], case: Case) -> int:
    """Peak memory of a case in its launches; 0 if not measured."""
    name = "peak_memory_reserved_bytes" if case.device_type == "cuda" else "peak_rss_bytes"
    return int(max((record.metrics.get(name) or 0.0 for record in records), default=0.0))


def _told(outcome: LaunchOutcome, writer: RunWriter, name: str) -> Mapping[str, object]:
    answer, figures = outcome.answer, {}
    if isinstance(answer, Result) and answer.turns is not None:
        turns = answer.turns
        figures = {
            "log_speeds": {int(arm): speed for arm, speed in turns.log_speeds.items()},
            "twin": turns.twin,
            "num_turns": turns.num_turns,
            "threads": turns.threads,
            "waits_left_out": turns.waits_left_out,
            "samples": writer.write_samples(name, {f"mark_{key}": each for key, each in answer.marks.items()}),
        }
    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "failure": outcome.failure,
        "findings": outcome.findings,
        "started_unix_s": outcome.started_unix_s,
        "wall_s": outcome.wall_s,
        "host_pid": outcome.host_pid,
        "pid": outcome.pid,
        **figures,
    }
