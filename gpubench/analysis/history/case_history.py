"""One metric over the stored runs, case by case, with the runs at which its level changed."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpubench.analysis.compare.run_sides import Difference, Side, arms_of, commit_of, differences, facts_of
from gpubench.analysis.history.change_points import MAX_VALUES, ChangePoint, change_points
from gpubench.analysis.summary.case_summary import Keeps
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
    made = []
    for (machine, suite, case_id), entries in found.items():
        newest = entries[-MAX_VALUES:]
        points = tuple(point for point, _, _ in newest)
        values = [point.value for point in points]
        changes = []
        for each in change_points(values, floor=floor, seed=seed) if min(values) > 0 else ():
            before, after = (
                Side(run.info.run, "run", suite, (), comparable(run.info.environment), facts_of(run))
                for _, run, _ in newest[each.at - 1 : each.at + 1]
            )
            changes.append(Change(each, points[each.at - 1], points[each.at], differences(before, after)))
        made.append(CaseHistory(case_id, newest[-1][2], suite, machine, points, tuple(changes)))
    return tuple(made)
