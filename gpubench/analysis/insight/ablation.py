"""The gain of each change on a suite's path: added one after another from the base, and each alone."""

import math
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.insight.best_settings import compared, speedup
from gpubench.analysis.insight.paired_ratios import SpeedVerdict
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.findings import Validity
from gpubench.core.records import Estimate, Status
from gpubench.store.run_info import understood
from gpubench.suite.cases.expand import staged_cases
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Suite

Changes = dict[str, tuple[Any, Any]]
"""The values before and after, by setting."""


@dataclass(frozen=True)
class Stage:
    """A case of the path with a figure. `ratio` is its speed over the previous stage's, `total` over the base's;
    `verdict` and `total_verdict` say whether that is certain.

    `changes` are the settings that differ from the previous stage (several entries of the path if some have no figure).
    `alone` is the gain of the same change on the base alone; None if not measured.
    """

    summary: CaseSummary
    changes: Changes
    ratio: Estimate
    total: Estimate
    alone: Estimate | None
    verdict: SpeedVerdict
    total_verdict: SpeedVerdict


@dataclass(frozen=True)
class LeftOut:
    """An entry of the path without a figure, and why."""

    changes: Changes
    reason: str


@dataclass(frozen=True)
class Waterfall:
    """The stages of a path. `whole`, the speed of the last stage over the base's, is measured directly."""

    base: CaseSummary
    stages: tuple[Stage, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def whole(self) -> Estimate:
        return self.stages[-1].total

    @property
    def product(self) -> float:
        return math.prod(stage.ratio.value for stage in self.stages)

    @property
    def best(self) -> Stage:
        """The fastest stage, the earliest of equals; later changes on the path cost speed."""
        return max(self.stages, key=lambda stage: stage.total.value)

    @property
    def most(self) -> Stage:
        """The stage that gained most."""
        return max(self.stages, key=lambda stage: stage.ratio.value)


def waterfall(summary: RunSummary) -> Waterfall | None:
    """The path of the run's suite. None without a path, a figure of the base, or one of any later stage."""
    if not summary.info.suite.get("path"):
        return None
    staged, alone = staged_cases(understood(Suite, summary.info.suite, "the run has a suite"))
    measured = {entry.planned.case_id: entry for entry in summary.cases}
    base = measured.get(staged[0].case_id)
    if base is None or _why_not(base) is not None:
        return None
    stages: list[Stage] = []
    left_out: list[LeftOut] = []
    before, skipped = base, 0
    for position, case in enumerate(staged[1:]):
        entry = measured.get(case.case_id)
        reason = "not part of this run" if entry is None else _why_not(entry)
        ratio = None if entry is None or reason is not None else compared(entry, before)
        total = None if entry is None or reason is not None else compared(entry, base)
        if entry is None or ratio is None or total is None:
            left_out.append(LeftOut(changes(staged[position], case), reason or "no figure to compare"))
            skipped += 1
            continue
        if entry is not before:
            lone = None if skipped else measured.get(alone[position].case_id)
            gain = speedup(lone, base) if lone is not None and lone is not base and _why_not(lone) is None else None
            changed = changes(before.case, case)
            stages.append(Stage(entry, changed, ratio.ratio, total.ratio, gain, ratio.verdict, total.verdict))
        before, skipped = entry, 0
    return Waterfall(base, tuple(stages), tuple(left_out)) if stages else None


def _why_not(entry: CaseSummary) -> str | None:
    """Why a case cannot be shown on the path, or None."""
    if entry.status is not Status.OK:
        return f"{entry.status.value}: {entry.reason}" if entry.reason else entry.status.value
    if entry.validity is Validity.INVALID:
        return next((found.message for found in entry.findings if found.effect == "invalidates"), "its output is wrong")
    return None if entry.speed is not None else "it has no speed"


def changes(before: Case, after: Case) -> Changes:
    """The settings in which two cases differ, in the order of `Case`."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in Case.model_fields}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
