"""One metric over the stored runs, case by case, with the runs at which its level changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.compare.run_sides import (
    Difference,
    Side,
    arms_of,
    commit_of,
    differences,
    facts_of,
    machine_of,
    other_machine,
)
from gpubench.analysis.history.change_points import MAX_VALUES, ChangePoint, change_points
from gpubench.analysis.summary.case_summary import Keeps
from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.analysis.summary.run_summary import RecordedRun, summarise_run
from gpubench.core.errors import StoreError
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
    """A case of a suite on a machine, oldest run first. `machine`: its name, and what tells it from its namesakes."""

    case_id: str
    label: str
    suite: str
    machine: str
    points: tuple[HistoryPoint, ...]
    changes: tuple[Change, ...]


def histories(
    runs: Iterable[RecordedRun],
    metric: str,
    keeps: Keeps | None = None,
    *,
    floor: float = 0.03,
    seed: int = 0,
    notes: list[str] | None = None,
) -> tuple[CaseHistory, ...]:
    """A history per case, suite and machine, of runs given oldest first. Machines of one name that differ in processor
    flags, family or quota (on a GPU: in driver) are several.

    Cases that are INVALID in a run, and runs that have arms, are left out. The newest 1000 runs count. `notes` gets a
    line for each run that this version cannot read.
    """
    found: dict[tuple[_Machine, str, str], list[tuple[HistoryPoint, RecordedRun, str]]] = {}
    machines: dict[str, list[_Machine]] = {}
    for run in runs:
        if arms_of(run):
            continue
        try:
            info, summary = run.info, summarise_run(run, metrics=())
        except StoreError as error:
            if notes is None:
                raise
            notes.append(f"{run.info.run} was left out: {error}")
            continue
        here = {kind: _known(machines, info.environment, kind) for kind in ("cpu", "cuda")}
        for case in (*summary.cases, *(entry.summary for entry in summary.quality)):
            values = list(case.launch_values(metric).values())
            if not values or case.validity is Validity.INVALID or not (keeps is None or keeps(case)):
                continue
            value = estimate(values, METRICS[metric]).value
            point = HistoryPoint(info.run, info.created, value, len(values), commit_of(run))
            device = str(case.settings.get("device", "cpu")).partition(":")[0]
            key = (here.get(device, here["cpu"]), info.suite_name, case.case_id)
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
        label = machine.told_from(machines[machine.kind])
        made.append(CaseHistory(case_id, newest[-1][2], suite, label, points, tuple(changes)))
    return tuple(made)


def _known(machines: dict[str, list["_Machine"]], environment: Mapping[str, Any], kind: str) -> "_Machine":
    """The machine of a run, among those met so far if it is one of them."""
    here = _Machine(machine_name(environment), kind, machine_of(comparable(environment), [kind]))
    same = machines.setdefault(kind, [])
    known = next((each for each in same if each.name == here.name and not other_machine(each.facts, here.facts)), None)
    if known is None:
        same.append(here)
        return here
    known.facts.update(here.facts)
    return known


@dataclass(frozen=True, eq=False)
class _Machine:
    """A machine as far as cases on its `kind` of device are concerned; `facts` as `machine_of` gives them."""

    name: str
    kind: str
    facts: dict[str, Any]

    def told_from(self, others: Iterable["_Machine"]) -> str:
        """Its name, with what tells it from other machines of that name."""
        alike = [each for each in others if each.name == self.name and each is not self]
        said = []
        for name in sorted({name for each in alike for name in other_machine(self.facts, each.facts)}):
            value, shown = self.facts.get(name), Difference(name, None, None).shown
            if isinstance(value, list | tuple):
                lacking = {flag for each in alike for flag in each.facts.get(name) or () if flag not in value}
                said.append(f"without {', '.join(sorted(lacking))}" if lacking else f"all {shown}")
            else:
                said.append(f"no {shown}" if value is None else f"{shown} {value}")
        return f"{self.name} ({'; '.join(said)})" if said else self.name
