"""One metric over the stored runs, case by case, with the runs at which its level changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpubench.analysis.compare.run_sides import Side, arms_of, commit_of, facts_of
from gpubench.analysis.compare.side_differences import Difference, differences
from gpubench.analysis.history.change_points import MAX_VALUES, ChangePoint, change_points
from gpubench.analysis.summary.comparable_case import Keeps
from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.analysis.summary.run_summary import RecordedRun, summarise_run
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS
from gpubench.machine.environment import comparable
from gpubench.store.baselines import machine_name


@dataclass(frozen=True)
class HistoryPoint:
    """The metric of a case in one run, in its stored unit, over `n` launches. `commit` as `commit_of` gives it."""

    run: str
    created: str
    value: float
    n: int
    commit: str | None


@dataclass(frozen=True)
class Change:
    """A change of level from `before` (last run of the old) to `after` (first of the new); `differs`: what else did."""

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

    Cases that are INVALID in a run, and runs that have arms, are left out. The newest 1000 runs count.
    """
    found: dict[tuple[str, str, str], list[tuple[HistoryPoint, RecordedRun, str]]] = {}
    for run in runs:
        if arms_of(run):
            continue
        info, summary = run.info, summarise_run(run, metrics=())
        for case in (*summary.cases, *(entry.summary for entry in summary.quality)):
            values = list(case.launch_values(metric).values())
            if not values or case.validity is Validity.INVALID or not (keeps is None or keeps(case)):
                continue
            value = estimate(values, METRICS[metric]).value
            point = HistoryPoint(info.run, info.created, value, len(values), commit_of(run))
            key = (machine_name(info.environment), info.suite_name, case.case_id)
            found.setdefault(key, []).append((point, run, case.label))
    return tuple(_history(key, entries[-MAX_VALUES:], floor, seed) for key, entries in found.items())


def _history(
    key: tuple[str, str, str], entries: Sequence[tuple[HistoryPoint, RecordedRun, str]], floor: float, seed: int
) -> CaseHistory:
    machine, suite, case_id = key
    points = tuple(point for point, _, _ in entries)
    values = [point.value for point in points]
    found = change_points(values, floor=floor, seed=seed) if all(value > 0 for value in values) else ()
    changes = []
    for each in found:
        before, after = (
            Side(run.info.run, "run", run.info.suite_name, (), comparable(run.info.environment), facts_of(run))
            for _, run, _ in entries[each.at - 1 : each.at + 1]
        )
        changes.append(Change(each, points[each.at - 1], points[each.at], differences(before, after)))
    return CaseHistory(case_id, entries[-1][2], suite, machine, points, tuple(changes))
