"""The chart of a case's history: one metric over the runs, and the levels between changes."""

from itertools import pairwise
from statistics import median

from gpubench.analysis.history.case_history import CaseHistory
from gpubench.core.metrics import METRICS
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import metric_title, unit_of
from gpubench.report.comparison.history_screen import MIN_RUNS, is_worse
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import count, sentence

READING = (
    "One point per run, oldest first, evenly spaced whatever the time between them. The heavy line is the median of "
    "each level; a dashed line marks the first run of a new level."
)


def history_chart(metric: str, history: CaseHistory, key: str, *, precision: str = "") -> Chart:
    """The values of `metric` in its display unit; `precision` gives the colour."""
    spec = METRICS[metric]
    points = history.points
    values = [point.value * spec.display_factor for point in points]
    starts = [change.found.at for change in history.changes]
    edges = [0, *starts, len(points)]
    levels = [level for a, b in pairwise(edges) for level in [median(values[a:b])] * (b - a)]
    rows: list[tuple[Datum, ...]] = []
    for at, (point, value, level) in enumerate(zip(points, values, levels, strict=True)):
        ends = (None if end is None else end * spec.display_factor for end in (point.low, point.high))
        rows.append((at + 1, point.run, point.created, value, *ends, level, point.n, point.commit))
    changes = [(change.found.at + 1, is_worse(metric, change)) for change in history.changes]
    title = f"{sentence(metric_title(metric))}: {_finding(history)}"
    unit = unit_of(metric) or metric_title(metric)
    return Chart(
        key=key,
        form="history",
        title=title,
        reading=READING,
        alt=f"{title}. {history.label} on {history.machine}, last {values[-1]:.6g} {unit}.",
        columns=("number", "run", "started", unit, "low", "high", "level", "launches", "commit"),
        rows=tuple(rows),
        options={"y_title": unit, "changes": changes, "precision": precision},
    )


def _finding(history: CaseHistory) -> str:
    """`-7.0% at run-0500 (2026-05-06)`: the last change of level, and how many came before it."""
    runs = count(len(history.points), "run")
    if not history.changes:
        return f"{runs}, too few to tell" if len(history.points) < MIN_RUNS else f"no change of level in {runs}"
    last, more = history.changes[-1], len(history.changes) - 1
    said = f"{format_percent(last.found.change, signed=True)} at {last.after.run} ({last.after.created[:10]})"
    return f"{said}, {count(more, 'change')} before" if more else said
