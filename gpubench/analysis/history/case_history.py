"""One metric over the stored runs, case by case, and the runs at which its level changed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpubench.analysis.compare.baseline_side import baseline_of, baseline_side
from gpubench.analysis.compare.run_sides import (
    Difference,
    Side,
    arms_of,
    differences,
    machine_of,
    other_machine,
    side_of,
)
from gpubench.analysis.history.change_points import MAX_VALUES, ChangePoint, change_points
from gpubench.analysis.summary.case_summary import Keeps
from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary
from gpubench.core.errors import StoreError
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS
from gpubench.store.baselines import Baseline, machine_name
from gpubench.store.database import KeptRun
from gpubench.store.run_reader import Run


@dataclass(frozen=True)
class HistoryPoint:
    """The metric of a case in one run, in its stored unit, over `n` launches, with its 95 % interval if known. `commit`
    as from `commit_of`.
    """

    run: str
    created: str
    value: float
    n: int
    commit: str | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Change:
    """A change of level from `before` (last run of the old level) to `after` (first of the new); `differs`: what else
    changed.
    """

    found: ChangePoint
    before: HistoryPoint
    after: HistoryPoint
    differs: tuple[Difference, ...]


@dataclass(frozen=True)
class CaseHistory:
    """A case of a suite on a machine, oldest run first. `machine`: its name, and what distinguishes it from others of
    that name.
    """

    case_id: str
    label: str
    suite: str
    machine: str
    points: tuple[HistoryPoint, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class PastRun:
    """A run in a history. `machine` is the machine's name, `created` the start of the run (UTC), `folder` where it was
    read.
    """

    run: str
    created: str
    machine: str
    side: Side
    tag: str | None = None
    folder: Path | None = None


def past_runs(runs: Iterable[Run], notes: list[str]) -> Iterator[PastRun]:
    """Runs without arms. `notes` gets a line for each that this version cannot read."""
    for run in runs:
        if arms_of(run):
            continue
        try:
            side = side_of(run, run.info.run)
        except StoreError as error:
            notes.append(f"{run.info.run} was left out: {error}")
            continue
        machine = machine_name(run.info.environment)
        yield PastRun(run.info.run, run.info.created, machine, side, run.info.tag, run.folder)


def kept_run(run: RecordedRun, summary: RunSummary | None = None) -> Baseline:
    """A run as kept in a database: the values of its launches, as in a baseline."""
    return baseline_of(run, created=run.info.created, reason="kept in a database", summary=summary)


def past_run(kept: KeptRun) -> PastRun:
    """A run from a database. StoreError if this version does not know one of its settings."""
    made = kept.document.history[-1]
    side = replace(baseline_side(kept.document), name=made.run, source="run")
    return PastRun(made.run, made.created, kept.document.machine, side, kept.tag, Path(kept.folder))


def histories(
    runs: Iterable[PastRun],
    metric: str,
    keeps: Keeps | None = None,
    *,
    floor: float = 0.03,
) -> tuple[CaseHistory, ...]:
    """A history per case, suite and machine, from runs given oldest first. Machines of the same name count as different
    if processor flags, family or quota (for GPU cases: the driver) differ.

    Cases that are INVALID in a run are left out. The newest 1000 runs count.
    """
    found: dict[tuple[_Machine, str, str, str], list[tuple[HistoryPoint, PastRun, str]]] = {}
    machines: dict[str, list[_Machine]] = {}
    for run in runs:
        here = {kind: _known(machines, run, kind) for kind in ("cpu", "cuda")}
        for case in run.side.cases:
            values = list(case.launch_values(metric).values())
            if not values or case.validity is Validity.INVALID or not (keeps is None or keeps(case)):
                continue
            found_here, commit = estimate(values, METRICS[metric]), run.side.facts.get("git commit")
            ends = (found_here.low, found_here.high)
            point = HistoryPoint(run.run, run.created, found_here.value, len(values), commit, *ends)
            device = str(case.settings.get("device", "cpu")).partition(":")[0]
            key = (here.get(device, here["cpu"]), run.side.suite, case.case_id, case.kind)
            found.setdefault(key, []).append((point, run, case.label))
    made = []
    for (machine, suite, case_id, _), entries in found.items():
        newest = entries[-MAX_VALUES:]
        points = tuple(point for point, _, _ in newest)
        values = [point.value for point in points]
        changes = []
        for each in change_points(values, floor=floor) if min(values) > 0 else ():
            before, after = (run.side for _, run, _ in newest[each.at - 1 : each.at + 1])
            changes.append(Change(each, points[each.at - 1], points[each.at], differences(before, after)))
        label = machine.told_from(machines[machine.kind])
        made.append(CaseHistory(case_id, newest[-1][2], suite, label, points, tuple(changes)))
    return tuple(made)


def _known(machines: dict[str, list["_Machine"]], run: PastRun, kind: str) -> "_Machine":
    """The machine of a run, one of those known so far if possible."""
    here = _Machine(run.machine, kind, machine_of(run.side.environment, [kind]))
    same = machines.setdefault(kind, [])
    known = next((each for each in same if each.name == here.name and not other_machine(each.facts, here.facts)), None)
    if known is None:
        same.append(here)
        return here
    known.facts.update(here.facts)
    return known


@dataclass(frozen=True, eq=False)
class _Machine:
    """A machine for cases on one `kind` of device; `facts` as from `machine_of`."""

    name: str
    kind: str
    facts: dict[str, Any]

    def told_from(self, others: Iterable["_Machine"]) -> str:
        """The machine's name, with what distinguishes it from others of that name."""
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
