"""The series of some launches for charts of steadiness: which are needed, and how to load them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RecordedRun
from gpubench.core.errors import StoreError
from gpubench.core.records import Record
from gpubench.report.view.contests import Contest, charted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
"""Launches by case number."""


def wanted(decision: Decision) -> tuple[CaseSummary, ...]:
    """The few cases whose samples are shown."""
    return tuple(entry for contest in charted(decision) for entry in fastest_of_each(contest))


def fastest_of_each(contest: Contest) -> tuple[CaseSummary, ...]:
    """The fastest case of each precision, preferring cases that may win."""
    chosen = []
    for precision in contest.precisions:
        mine = [entry for entry in contest.rankable if entry.case.precision == precision]
        if mine:
            chosen.append(max(mine, key=lambda entry: (entry.may_win, entry.rank_speed or 0.0)))
    return tuple(chosen)


_TELEMETRY = "telemetry_"
_MOST_LAUNCHES = 5


class RunWithSamples(RecordedRun, Protocol):
    """The part of `store.run_reader.Run` needed here."""

    def samples(self, record: Record) -> "dict[str, NDArray[np.float64]]": ...


def load_samples(run: RunWithSamples, decision: Decision) -> tuple[dict[int, list[LaunchSamples]], list[str]]:
    """Samples by case, for the cases in charts, and a notice for each file that could not be read."""
    found: dict[int, list[LaunchSamples]] = {}
    notices = []
    for entry in wanted(decision):
        for record in [each for each in entry.ok_records if each.samples is not None][:_MOST_LAUNCHES]:
            try:
                arrays = run.samples(record)
            except StoreError as error:
                notices.append(f"{error}. {error.hint}".strip())
                continue
            launch = _launch(record, arrays)
            if launch is not None:
                found.setdefault(entry.planned.index, []).append(launch)
    return found, notices


def _launch(record: Record, arrays: Mapping[str, "NDArray[np.float64]"]) -> LaunchSamples | None:
    """Steady steps and readings of a launch; None without steps. Times of readings count from the window's start."""
    steps, series, window = arrays.get("step_times_s"), record.series, record.window
    if steps is None or series is None:
        return None
    start_s, duration_s = (0.0, 0.0) if window is None else (window.start_s, window.duration_s)
    telemetry = {
        name.removeprefix(_TELEMETRY): (values - start_s if name.endswith("_time_s") else values).tolist()
        for name, values in arrays.items()
        if name.startswith(_TELEMETRY)
    }
    return LaunchSamples(record.repeat, steps[series.num_warmup :].tolist(), series.group, telemetry, duration_s)
