"""The order of launches: round by round, each round shuffled anew.

A round holds one launch of every case that still needs one. Cases are shuffled so that drift over a run (heat, clocks,
other programs) affects all of them alike; the seed is recorded, so that the order can be repeated. If time may not
suffice for all cases, `at_once` of them get all their rounds before the next ones get any.
"""

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpubench.core.records import Record, Status
from gpubench.runner.launch.recorder import PlannedLaunch
from gpubench.stats.launch_looks import are_enough
from gpubench.store.run_info import PlannedCase

FINAL = frozenset({Status.OOM, Status.UNSUPPORTED, Status.TIMEOUT})
"""Statuses that another launch would only repeat."""

LARGER = "larger than an OOM"
OUT_OF_BUDGET = "the time budget was used up"


@dataclass(frozen=True)
class UntilKnown:
    """Repeats a case until the interval of its step time is narrow enough, at least `least` times."""

    least: int
    target_rel_ci: float


class LaunchSchedule:
    """The launches left to do, given the records so far. `quality_seeds` training runs per quality entry come last."""

    def __init__(
        self,
        cases: Sequence[PlannedCase],
        *,
        repeats: int,
        quality_seeds: int = 1,
        seed: int = 0,
        arms: Sequence[str | None] = (None,),
        skip_after_oom: bool = True,
        at_once: int | None = None,
        until: UntilKnown | None = None,
        records: Iterable[Record] = (),
    ) -> None:
        self.cases = [case for case in cases if case.skip_status is None]
        self._repeats, self._quality_seeds, self.seed = repeats, quality_seeds, seed
        self.arms = tuple(arms)
        self._skip_after_oom, self._at_once, self._until = skip_after_oom, at_once, until
        self._records: dict[int, dict[tuple[int, str | None], Record]] = {case.index: {} for case in self.cases}
        self._left = {
            (case.index, arm): set(range(1, self.num_rounds(case) + 1)) for case in self.cases for arm in self.arms
        }
        self._alike, self._batch = {}, {}
        for case in self.cases:
            settings = dict(case.case.settings)
            batch = settings.pop("batch_size", None)
            self._alike[case.index] = case.kind + json.dumps(settings, sort_keys=True)
            self._batch[case.index] = float(batch) if isinstance(batch, int) else math.inf  # `max`: no smaller one
        self._smallest_oom: dict[tuple[str, str | None], float] = {}
        self.num_launches = self.num_left
        for record in records:
            self.note(record)
        for case in self.cases:  # rounds of a stored run with only some arms measured start anew
            left = [self._left[case.index, arm] for arm in self.arms]
            if case.kind == "measure" and not self.one_sided(case):
                for mine in left:
                    mine |= set().union(*left)
            self.settle_if_known(case)

    @property
    def num_left(self) -> int:
        return sum(len(left) for left in self._left.values())

    @property
    def num_done(self) -> int:
        """Launches of the whole plan that are done, or no longer needed because their case ended early."""
        return self.num_launches - self.num_left

    @property
    def groups(self) -> list[list[PlannedCase]]:
        """The cases that share rounds, in suite order: all of them, or `at_once` at a time; training comes last."""
        if self._at_once is None:
            return [self.cases]
        measured = [case for case in self.cases if case.kind == "measure"]
        starts = range(0, len(measured), self._at_once)
        trained = [case for case in self.cases if case.kind == "quality"]
        return [*(measured[start : start + self._at_once] for start in starts), trained]

    @property
    def rounds(self) -> range:
        """Numbers of the rounds: measuring first, then training."""
        trained = any(case.kind == "quality" for case in self.cases)
        return range(1, self._repeats + (self._quality_seeds if trained else 0) + 1)

    def is_measuring(self, number: int) -> bool:
        """Whether a round measures rather than trains."""
        return number <= self._repeats

    def round(self, number: int, group: Sequence[PlannedCase] | None = None) -> list[PlannedLaunch]:
        """The remaining launches of a round, cases in random order, the arms of a case next to each other.

        `group` is one of `groups`; None takes all cases.
        """
        order = random.Random(f"{self.seed}/{number}")
        kind, repeat = ("measure", number) if self.is_measuring(number) else ("quality", number - self._repeats)
        cases = [case for case in (self.cases if group is None else group) if case.kind == kind]
        order.shuffle(cases)
        launches = []
        for case in cases:
            arms = self._order_of_arms(case, number)
            launches += [PlannedLaunch(case, repeat, arm) for arm in arms if repeat in self._left[case.index, arm]]
        return launches

    def _order_of_arms(self, case: PlannedCase, number: int) -> list[str | None]:
        """Drawn for every two rounds and reversed in the second, so that each arm comes first as often as last.

        The difference between the first launch of a round and the next one (a cooler device, a colder cache) then
        cancels. With an order drawn for each round it would be extra noise: at 4 % of the time, 5.7 % of comparisons of
        equal arms were called changed, against none (20,000 simulated, launches varying by 0.5 %).
        """
        arms = list(self.arms)
        random.Random(f"{self.seed}/{case.index}/{(number - 1) // 2}").shuffle(arms)
        return arms if number % 2 else arms[::-1]

    def note(self, record: Record) -> None:
        """Notes that a launch has ended. A status that another launch would only repeat ends the case for its arm."""
        key = (record.case_index, record.arm)
        if key not in self._left or record.kind == "retest":
            return
        self._records[record.case_index][record.repeat, record.arm] = record
        if _is_final(record):
            self._left[key].clear()
        elif counts(record):
            self._left[key].discard(record.repeat)
        if record.status is Status.OOM and self._skip_after_oom:
            alike = (self._alike[record.case_index], record.arm)
            batch = self._batch[record.case_index]
            self._smallest_oom[alike] = min(batch, self._smallest_oom.get(alike, batch))

    def settle(self, case: PlannedCase) -> None:
        """Ends a case: it needs no more launches."""
        for arm in self.arms:
            self._left[case.index, arm].clear()

    def settle_if_known(self, case: PlannedCase) -> bool:
        """Settles a case that has enough launches, and returns whether it has. Never without a range of repeats."""
        until = self._until
        if until is None or case.kind != "measure" or self.over(case):
            return False
        records = self.records_of(case)
        logs = [math.log(record.series.median_s) for record in records if record.status is Status.OK and record.series]
        hopeless = not logs and len(records) >= until.least
        enough = hopeless or are_enough(logs, until.least, self._repeats, until.target_rel_ci)
        if enough:
            self.settle(case)
        return enough

    def one_sided(self, case: PlannedCase) -> bool:
        """Whether an arm of the case has ended for good, which leaves the others nothing to compare with."""
        ended = {record.arm for record in self._records[case.index].values() if _is_final(record)}
        return bool(ended) and len(self.arms) > 1

    def is_left(self, launch: PlannedLaunch) -> bool:
        """Whether a launch of the round is still needed, after the results since the round was drawn."""
        return launch.repeat in self._left[launch.case.index, launch.arm]

    def why_skip(self, launch: PlannedLaunch) -> str | None:
        """Why to skip a launch: a smaller batch of an otherwise equal case ran out of memory."""
        smallest = self._smallest_oom.get((self._alike[launch.case.index], launch.arm))
        larger = smallest is not None and smallest < self._batch[launch.case.index] < math.inf
        return f"{LARGER} (batch {smallest:.0f})" if larger else None

    def over(self, case: PlannedCase) -> bool:
        """Whether nothing is left to do for the case."""
        return not any(self._left[case.index, arm] for arm in self.arms)

    def missing(self) -> list[PlannedLaunch]:
        """The first missing launch of each case and arm."""
        return [
            PlannedLaunch(case, min(self._left[case.index, arm]), arm)
            for case in self.cases
            for arm in self.arms
            if self._left[case.index, arm]
        ]

    def records_of(self, case: PlannedCase) -> tuple[Record, ...]:
        """The last record per launch, in order of repeat."""
        mine = self._records.get(case.index, {})
        return tuple(mine[key] for key in sorted(mine, key=lambda key: (key[0], key[1] or "")))

    def has_figure(self, launch: PlannedLaunch) -> bool:
        """Whether the launch was measured, at least in part."""
        record = self._records[launch.case.index].get((launch.repeat, launch.arm))
        return record is not None and record.status is Status.OK

    def num_rounds(self, case: PlannedCase) -> int:
        return self._quality_seeds if case.kind == "quality" else self._repeats


def counts(record: Record) -> bool:
    """Whether a stored launch counts when a run is resumed. One that was cut short or left out is measured again."""
    if record.status is Status.SKIPPED:
        return _is_larger(record)
    return all(entry.code != "GB104" for entry in record.findings)


def _is_larger(record: Record) -> bool:
    return record.status is Status.SKIPPED and (record.reason or "").startswith(LARGER)


def _is_final(record: Record) -> bool:
    return record.status in FINAL or _is_larger(record)
