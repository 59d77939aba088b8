"""The long series of some launches, as charts of steadiness need them; plain data, read by `report.write`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpubench.analysis.insight.best_settings import speed
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.view.contests import Contest, charted
from gpubench.report.view.phrases import standing


@dataclass(frozen=True)
class LaunchSamples:
    """One launch. `step_times_s` are seconds per step of its steady groups, each of `group` steps.

    `telemetry` holds readings by name, with their times in `fast_time_s` and `slow_time_s`, in seconds since the
    window's start; `duration_s` is the window's length.
    """

    repeat: int
    step_times_s: Sequence[float]
    group: int = 1
    telemetry: Mapping[str, Sequence[float]] = field(default_factory=dict)
    duration_s: float = 0.0


Samples = Mapping[int, Sequence[LaunchSamples]]
"""Launches by the number of their case."""


def wanted(summary: RunSummary) -> tuple[CaseSummary, ...]:
    """The cases whose samples are shown: few of many."""
    return tuple(entry for contest in charted(summary) for entry in fastest_of_each(contest))


def fastest_of_each(contest: Contest) -> tuple[CaseSummary, ...]:
    """The fastest case of each precision, those that count before those that do not."""
    chosen = []
    for precision in contest.precisions:
        mine = [entry for entry in contest.rankable if entry.case.precision == precision]
        if mine:
            chosen.append(max(mine, key=lambda entry: (standing(entry) == "valid", speed(entry) or 0.0)))
    return tuple(chosen)
