"""The series of the launches that a report draws, read from a stored run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary
from gpubench.core.errors import StoreError
from gpubench.core.records import Record
from gpubench.report.view.samples import LaunchSamples, wanted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TELEMETRY = "telemetry_"
_MOST_LAUNCHES = 5


class RunWithSamples(RecordedRun, Protocol):
    """What is needed of `store.runs.Run`."""

    def samples(self, record: Record) -> "dict[str, NDArray[np.float64]]": ...


def load_samples(run: RunWithSamples, summary: RunSummary) -> tuple[dict[int, list[LaunchSamples]], list[str]]:
    """Samples by case of those cases that charts show, and a notice for each file that could not be read."""
    found: dict[int, list[LaunchSamples]] = {}
    notices = []
    for entry in wanted(summary):
        for record in _recorded(entry):
            try:
                arrays = run.samples(record)
            except StoreError as error:
                notices.append(f"{error}. {error.hint}".strip())
                continue
            launch = _launch(record, arrays)
            if launch is not None:
                found.setdefault(entry.planned.index, []).append(launch)
    return found, notices


def _recorded(entry: CaseSummary) -> Sequence[Record]:
    return [record for record in entry.ok_records if record.samples is not None][:_MOST_LAUNCHES]


def _launch(record: Record, arrays: Mapping[str, "NDArray[np.float64]"]) -> LaunchSamples | None:
    """Steady steps and readings; None without steps. Times of readings count from the window's start."""
    steps, series, window = arrays.get("step_times_s"), record.series, record.window
    if steps is None or series is None:
        return None
    start_s = 0.0 if window is None else window.start_s
    telemetry = {
        name.removeprefix(_TELEMETRY): values for name, values in arrays.items() if name.startswith(_TELEMETRY)
    }
    shifted = {
        name: (values - start_s if name.endswith("_time_s") else values).tolist() for name, values in telemetry.items()
    }
    return LaunchSamples(
        repeat=record.repeat,
        step_times_s=steps[series.num_warmup :].tolist(),
        group=series.group,
        telemetry=shifted,
        duration_s=0.0 if window is None else window.duration_s,
    )
