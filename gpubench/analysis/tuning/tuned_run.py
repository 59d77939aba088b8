"""A search for the fastest settings over the cases of a run: what to measure next, and the result."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from gpubench.analysis.tuning.grid import FailureKind, Space, TriedPoints
from gpubench.analysis.tuning.search import Ask, LogRatio, Search
from gpubench.core.errors import UsageError
from gpubench.core.findings import Effect
from gpubench.core.records import ContestRecord, Record, Status, latest, latest_contests
from gpubench.store.run_info import PlannedCase
from gpubench.suite.cases.labels import short_word, varying
from gpubench.suite.model.case import SPECS, Case

Objective = Literal["speed", "energy", "cost"]

_OVERHEAD = 1.4
"""Factor for hosts and planning, on top of the time of processes."""


@dataclass(frozen=True)
class Step:
    """A change on the path from the start to the best, and its gain."""

    changes: tuple[str, ...]
    ratio: LogRatio


@dataclass(frozen=True)
class RuledOut:
    """A value that is not in the best setting: `why` in words, `ratio` to the best or the start (None: it failed or was
    not measured).
    """

    axis: str
    value: str
    why: str
    ratio: LogRatio | None = None


class TunedRun:
    """`cases` is the whole grid, beginning with the start; `groups` says which can take turns in one process."""

    def __init__(
        self,
        cases: Sequence[Case],
        groups: Sequence[int | None],
        objective: Objective,
        planned: Iterable[PlannedCase],
        records: Iterable[Record],
        contests: Iterable[ContestRecord],
        *,
        seed: int = 0,
        rejected: Iterable[str] = (),
    ) -> None:
        self.cases, self.objective = tuple(cases), objective
        self.axes = {name: _values(name, cases) for name in varying(cases)}
        self._point = {str(case.case_id): point for point, case in enumerate(self.cases)}
        measured_alone = objective == "energy"
        self.space = Space(
            codes=tuple(tuple(_place(self.axes[name], getattr(case, name)) for name in self.axes) for case in cases),
            numeric=tuple(_is_numeric(values) for values in self.axes.values()),
            groups=(None,) * len(self.cases) if measured_alone else tuple(groups),
            batch_axis=_position(self.axes, "batch_size"),
            precision_axis=_position(self.axes, "precision"),
        )
        self._by_index = {
            case.index: self._point[case.case_id]
            for case in planned
            if case.kind == "measure" and case.case_id in self._point
        }
        self.records: dict[int, list[Record]] = {}
        self._contest_s = 0.0
        self.measured = self._read(latest(records), latest_contests(contests))
        for case_id in rejected:
            self.measured.failed[self._point[case_id]] = "wrong"
            self.measured.forgiven = self.space.limit // 2
        self.search = Search(self.space, self.measured, seed=seed)

    def _read(self, records: Iterable[Record], contests: Iterable[ContestRecord]) -> TriedPoints:
        found = TriedPoints()
        for record in records:
            point = self._by_index.get(record.case_index)
            if point is None or record.kind != "measure" or record.status is Status.SKIPPED:
                continue
            if point not in found.order:
                found.order.append(point)
            self.records.setdefault(point, []).append(record)
            kind = failure_of(record)
            if kind is not None:
                found.failed[point] = kind
                continue
            found.launches.setdefault(point, {})[record.repeat] = self._score(record)
        taken: set[int] = set()
        for contest in contests:
            self._contest_s += contest.wall_s or 0.0
            points = [self._by_index[case] for case in contest.cases if case in self._by_index]
            if contest.status is Status.OK:
                found.contests.append({self._by_index[case]: log for case, log in contest.log_speeds.items()})
                found.num_twins += contest.twin is not None
                taken |= {*points}
            elif contest.status is not Status.OOM or len(points) <= 2:
                found.apart |= {*points}
        found.apart -= taken
        return found

    def _score(self, record: Record) -> float:
        name = "energy_per_sample_j" if self.objective == "energy" else "throughput"
        value = record.metrics.get(name)
        if value is None or value <= 0:
            why = record.absent.get(name, "it was not measured")
            raise UsageError(
                f"--objective {self.objective} needs {name}, which this machine does not measure: {why}.",
                hint="--objective speed needs no meter; `gpubench doctor` says what is missing.",
            )
        return math.log(value) if name == "throughput" else -math.log(value)

    def next(self, left_s: float | None) -> Ask | None:
        """What to measure next, with `left_s` seconds left (None: no limit)."""
        room = None
        if left_s is not None and self.measured.cost and self._seconds > 0:
            room = math.floor(left_s * self.measured.cost / (_OVERHEAD * self._seconds))
        return self.search.next(room)

    @property
    def _seconds(self) -> float:
        launches = (record.wall_s or 0.0 for records in self.records.values() for record in records)
        return math.fsum(launches) + self._contest_s

    # The result

    @property
    def start(self) -> int | None:
        return self.search.start

    @cached_property
    def best(self) -> int:
        return self.search.best

    @cached_property
    def is_over(self) -> bool:
        """Nothing is left to measure, however much time there were."""
        return self.search.next(None) is None

    @property
    def num_tried(self) -> int:
        return len(self.measured.order)

    @property
    def together(self) -> LogRatio:
        """How many times as good the best is as the start."""
        return self.search.together

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        path = self.search.path
        return tuple(Step(self.changes(one, other), self.search.ratio(other, one)) for one, other in pairwise(path))

    def changes(self, one: int, other: int) -> tuple[str, ...]:
        """The words of the values in which `other` differs from `one`."""
        return tuple(self.word(name, getattr(self.cases[other], name)) for name in self.differ(one, other))

    def differ(self, one: int, other: int) -> list[str]:
        names = list(self.axes)
        return [names[axis] for axis in self.space.differ(one, other)]

    @staticmethod
    def word(name: str, value: object) -> str:
        """`NHWC`, `b64`, `compile=default`; also names what is off by default."""
        text = short_word(name, value)
        return text if SPECS[name].label is not str else f"{SPECS[name].title} {text}" if text.isdigit() else text

    @cached_property
    def ruled_out(self) -> tuple[RuledOut, ...]:
        """Every value that the best setting does not have, with the strongest available reason."""
        found = []
        for name, values in self.axes.items():
            mine = getattr(self.cases[self.best], name)
            found += [self._why_not(name, value) for value in values if value != mine]
        return tuple(found)

    def _why_not(self, name: str, value: object) -> RuledOut:
        assert self.start is not None, "something was measured"
        word = self.word(name, value)
        for base, said in ((self.best, "of the best"), (self.start, "of the start")):
            point = self._with(base, name, value)
            if point is None or point == base:
                continue
            if point in self.measured.failed:
                return RuledOut(name, word, self.reason(point))
            ratio = self.search.ratio(point, base)
            if ratio.rounds:
                return RuledOut(name, word, said, ratio)
        tried = [p for p in self.measured.order if getattr(self.cases[p], name) == value]
        failed = [p for p in tried if p in self.measured.failed]
        if failed and len(failed) == len(tried):
            return RuledOut(name, word, self.reason(failed[0]))
        return RuledOut(name, word, "behind in every setting that was tried" if tried else "not tried")

    def _with(self, base: int, name: str, value: object) -> int | None:
        code = list(self.space.codes[base])
        code[list(self.axes).index(name)] = _place(self.axes[name], value)
        return self.space.index.get(tuple(code))

    def reason(self, point: int) -> str:
        """Why a point cannot be used."""
        record = self.records[point][-1]
        if record.status is not Status.OK:
            return f"{record.status.value}: {record.reason}" if record.reason else record.status.value
        if record.parity is not None and not record.parity.passed:
            off, limit = record.parity.logits_rel_error, record.parity.logits_limit
            return f"wrong: its output is off by {off:.1e}, {limit:.1e} allowed"
        wrong = [entry for entry in record.findings if entry.effect is Effect.INVALIDATES]
        return f"invalid: {wrong[0].message}" if wrong else "ruled out by its score"

    def metric(self, point: int, name: str) -> float | None:
        """The median of a launch metric; None if it was not measured."""
        values = sorted(
            value for record in self.records.get(point, ()) if (value := record.metrics.get(name)) is not None
        )
        return values[len(values) // 2] if values else None

    @cached_property
    def speeds(self) -> dict[int, float]:
        """Samples per second of every valid point: the start's, from launches, times the model's ratio."""
        import numpy as np

        valid = self.measured.valid
        if self.objective == "energy" or self.start is None:
            return {point: self.metric(point, "throughput") or math.nan for point in valid}
        mean, _ = self.search.model.moments(np.array(valid))
        level = {point: float(log) for point, log in zip(valid, mean, strict=True)}
        base = self.metric(self.start, "throughput") or math.nan
        return {point: base * math.exp(log - level[self.start]) for point, log in level.items()}

    @cached_property
    def frontier(self) -> tuple[int, ...]:
        """Valid points that no other point beats in speed, memory and (if measured) energy; the fastest first."""
        memory = "peak_memory_reserved_bytes" if self.cases[0].device_type == "cuda" else "peak_rss_bytes"
        costs = {
            point: [
                -self.speeds[point],
                *(each for name in (memory, "energy_per_sample_j") if (each := self.metric(point, name)) is not None),
            ]
            for point in self.measured.valid
        }
        kept = [point for point, mine in costs.items() if not any(_beats(other, mine) for other in costs.values())]
        return tuple(sorted(kept, key=lambda point: -self.speeds[point]))


def failure_of(record: Record) -> FailureKind | None:
    """Why a launch rules its case out; None if it does not."""
    if record.status is Status.OOM:
        return "oom"
    if record.status is not Status.OK:
        return "failed"
    invalid = any(entry.effect is Effect.INVALIDATES for entry in record.findings)
    return "wrong" if invalid or (record.parity is not None and not record.parity.passed) else None


def _beats(other: Sequence[float], mine: Sequence[float]) -> bool:
    """Whether `other` is better in something by 1 % or more, and nowhere worse."""
    if len(other) != len(mine) or other == mine:
        return False
    near = [b - a > 0.01 * abs(b) for a, b in zip(other, mine, strict=True)]
    return any(near) and all(a <= b + 0.01 * abs(b) for a, b in zip(other, mine, strict=True))


def _values(name: str, cases: Sequence[Case]) -> list[object]:
    """The values of an axis in grid order, the start's first; numbers sorted, because neighbours are alike."""
    found: list[object] = []
    for case in cases:
        value = getattr(case, name)
        if value not in found:
            found.append(value)
    return sorted(found) if _is_numeric(found) else found  # type: ignore[type-var]


def _place(values: Sequence[object], value: object) -> int:
    return next(at for at, each in enumerate(values) if each == value and type(each) is type(value))


def _is_numeric(values: Sequence[object]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _position(axes: dict[str, list[object]], name: str) -> int | None:
    return list(axes).index(name) if name in axes else None
