"""One metric over the stored runs, case by case, with the runs from which on its level is another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gpubench.analysis.compare.run_sides import Side, arms_of, commit_of
from gpubench.analysis.compare.side_differences import Difference, differences
from gpubench.analysis.history.change_points import MAX_VALUES, ChangePoint, change_points
from gpubench.analysis.summary.comparable_case import ComparableCase
from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.analysis.summary.run_summary import RecordedRun, summarise_run
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS
from gpubench.machine.environment import comparable
from gpubench.store.baselines import machine_name

Keeps = Callable[[ComparableCase], bool]


@dataclass(frozen=True)
class HistoryPoint:
    """The metric of a case in one run, in its stored unit, over `n` launches. `commit` is short, with `with changes` if
    dirty.
    """

    run: str
    created: str
    value: float
    n: int
    commit: str | None


@dataclass(frozen=True)
class Change:
    """A change of level. `before` is the last run of the old level, `after` the first of the new; `differs` what else
    changed.
    """

    found: ChangePoint
    before: HistoryPoint
    after: HistoryPoint
    differs: tuple[Difference, ...]


@dataclass(frozen=True)
class CaseHistory:
    """A case of a suite on a machine, oldest run first."""

    case_id: str
    label: str
    suite: str
    machine: str
    points: tuple[HistoryPoint, ...]
    changes: tuple[Change, ...]


def histories(
    runs: Iterable[RecordedRun], metric: str, keeps: Keeps | None = None, *, floor: float = 0.03, seed: int = 0
) -> tuple[CaseHistory, ...]:
    """A history per case, suite and machine, of runs given oldest first.

    Cases that are INVALID in a run, and runs that hold arms, are left out. The newest 1000 runs count.
    """
    found: dict[tuple[str, str, str], list[tuple[HistoryPoint, RecordedRun, str]]] = {}
    for run in runs:
        if arms_of(run):
            continue
        machine = machine_name(run.info.environment)
        for entry in _entries(run, metric, keeps):
            key = (machine, run.info.suite_name, entry.case_id)
            found.setdefault(key, []).append((_point(run, entry, metric), run, entry.label))
    return tuple(_history(key, entries[-MAX_VALUES:], floor, seed) for key, entries in found.items())


def _entries(run: RecordedRun, metric: str, keeps: Keeps | None) -> list[ComparableCase]:
    summary = summarise_run(run, metrics=())
    every = [*summary.cases, *(entry.summary for entry in summary.quality)]
    return [
        case
        for case in every
        if case.launch_values(metric) and case.validity is not Validity.INVALID and (keeps is None or keeps(case))
    ]


def _point(run: RecordedRun, entry: ComparableCase, metric: str) -> HistoryPoint:
    values = list(entry.launch_values(metric).values())
    return HistoryPoint(
        run.info.run, run.info.created, estimate(values, METRICS[metric]).value, len(values), commit_of(run)
    )


def _history(
    key: tuple[str, str, str], entries: Sequence[tuple[HistoryPoint, RecordedRun, str]], floor: float, seed: int
) -> CaseHistory:
    machine, suite, case_id = key
    points = tuple(point for point, _, _ in entries)
    values = [point.value for point in points]
    found = change_points(values, floor=floor, seed=seed) if all(value > 0 for value in values) else ()
    changes = tuple(
        Change(each, points[each.at - 1], points[each.at], _differs(entries[each.at - 1][1], entries[each.at][1]))
        for each in found
    )
    return CaseHistory(case_id, entries[-1][2], suite, machine, points, changes)


def _differs(before: RecordedRun, after: RecordedRun) -> tuple[Difference, ...]:
    return differences(_bare(before), _bare(after))


def _bare(run: RecordedRun) -> Side:
    commit = commit_of(run)
    facts = {} if commit is None else {"git commit": commit}
    return Side(run.info.run, "run", run.info.suite_name, (), comparable(run.info.environment), facts)
