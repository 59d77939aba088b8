"""Time and energy to the target accuracy, per precision, over seeds."""

import math
from collections.abc import Sequence

from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.launch_estimates import geometric_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Estimate, Quality
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import metric_cell, ratio_cell
from gpubench.report.model.report_model import EMPTY, Cell, Column, Line, Row, Table, line

_TIME, _STEPS, _ENERGY = "time_to_accuracy_s", "steps_to_accuracy", "energy_to_accuracy_j"
_COLUMNS = (
    Column("mark", "", "left"),
    Column("device", "device", "left"),
    Column("precision", "precision", "left"),
    Column("reached", "reached"),
    Column(_TIME, "to accuracy s", unit="s"),
    Column("speed", "vs reference", priority=1),
    Column(_STEPS, "steps", priority=3),
    Column(_ENERGY, "to accuracy J", priority=1, unit="J"),
    Column("mean_power_w", "W", priority=4, unit="W"),
    Column("accuracy", "then on test %", priority=2, unit="%"),
)


def to_accuracy_table(summary: RunSummary) -> Table | None:
    """A row per training to a result that had a target; None without any."""
    known = [(entry, runs) for entry in summary.quality if (runs := _runs(entry.summary))]
    if not known:
        return None
    rows = tuple(_row(entry, runs) for entry, runs in known)
    return Table(
        "to-accuracy", _COLUMNS, rows, "Time and energy to the target", _notes(known[0][1], rows)
    ).without_empty_columns()


def _runs(entry: CaseSummary) -> list[Quality]:
    runs = [record.quality for record in entry.ok_records if record.quality is not None]
    return [run for run in runs if run.target_accuracy is not None]


def _row(quality: QualitySummary, runs: Sequence[Quality]) -> Row:
    entry = quality.summary
    reached = sum(run.time_to_accuracy_s is not None for run in runs)
    cells = (
        Cell("" if reached == len(runs) else "!"),
        Cell(quality.device),
        Cell(quality.precision),
        Cell(f"{reached} of {len(runs)}", value=reached),
        _figure(_TIME, entry, spread=True),
        ratio_cell(_against(quality)),
        *(_figure(name, entry, spread=name == _ENERGY) for name in (_STEPS, _ENERGY, "mean_power_w")),
        _figure("accuracy", entry, spread=True),
    )
    return Row(cells, "plain" if reached == len(runs) else "warning", entry.planned.index)


def _figure(name: str, entry: CaseSummary, *, spread: bool) -> Cell:
    return metric_cell(name, entry.metrics, spread=spread) if name in entry.metrics else EMPTY


def _against(quality: QualitySummary) -> Estimate | None:
    """How many times sooner than the reference, over the seeds that reached the target on both sides."""
    if quality.reference is None or quality.reference is quality.summary:
        return None
    ours, theirs = (each.launch_values(_TIME) for each in (quality.summary, quality.reference))
    logs = [math.log(theirs[seed] / ours[seed]) for seed in ours if seed in theirs]
    return geometric_estimate(logs, "1") if logs else None


def _notes(runs: Sequence[Quality], rows: Sequence[Row]) -> tuple[Line, ...]:
    target = runs[0].target_accuracy
    assert target is not None, "runs without a target have no row"
    told = (
        f"Target: {format_percent(target, decimals=0)} of the validation split, looked at after every epoch. Time is that of training "
        "alone; joules are of the device from the first step to the end of the epoch that reached it, validation included. "
        "Intervals over seeds."
    )
    short = any(row.cells[0].text for row in rows)
    note = line("! some seeds did not reach it: time, steps and joules are of those that did.")
    return (line(told), note) if short else (line(told),)
