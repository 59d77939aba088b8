"""The screen of `gpubench history`."""

from collections.abc import Sequence
from typing import Any

from gpubench.analysis.history.case_history import CaseHistory, Change, HistoryPoint
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import metric_title, unit_of
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.report_model import Cell, Column, Line, ReportModel, Row, Section, Table, code, line, strong
from gpubench.report.model.words import count, joined

MIN_RUNS = 8

_CHANGES = (
    Column("mark", "", "left"),
    Column("case", "case", "left", flexible=True),
    Column("run", "from run", "left"),
    Column("before", "before", priority=2),
    Column("after", "after", priority=2),
    Column("unit", "", "left", priority=2),
    Column("change", "change"),
    Column("p", "p", priority=3),
    Column("differs", "what else changed", "left", flexible=True, priority=1),
)
_SERIES = (
    Column("case", "case", "left", flexible=True),
    Column("machine", "machine", "left", priority=3),
    Column("runs", "runs"),
    Column("first", "first", priority=2),
    Column("last", "last"),
    Column("least", "least", priority=1),
    Column("most", "most", priority=1),
    Column("unit", "", "left"),
)


def build_history(metric: str, found: Sequence[CaseHistory], *, floor: float, notes: Sequence[str] = ()) -> ReportModel:
    """Changes first, then every series. `notes` say what was left out."""
    changed = [(history, change) for history in found for change in history.changes]
    sections = (
        Section("changes", "Changes of level", tables=_changes(metric, changed)),
        Section("next", "Next", lines=_next(changed)),
        Section("series", "Series", tables=_series(metric, found)),
        Section("notes", "Notes", lines=(*_short(found), *(line(note) for note in notes))),
    )
    runs = len({point.run for history in found for point in history.points})
    return ReportModel(
        title=f"History of {metric_title(metric)}",
        subtitle=line(
            f"{count(len(found), 'case')} over {count(runs, 'run')}; changes of {format_percent(floor)} and more"
        ),
        run="",
        headline=(_headline(changed),),
        sections=tuple(section for section in sections if not section.empty),
    )


def _headline(changed: Sequence[tuple[CaseHistory, Change]]) -> Line:
    if not changed:
        return line("No change of level.")
    cases = len({(history.machine, history.case_id) for history, _ in changed})
    said = f"{count(len(changed), 'change')} of level in {count(cases, 'case')}."
    return line(
        strong(said), " Stored runs were not interleaved: take this as a request to measure again, not as a verdict."
    )


def _changes(metric: str, changed: Sequence[tuple[CaseHistory, Change]]) -> tuple[Table, ...]:
    rows = tuple(_change(metric, history, change) for history, change in changed)
    return (Table("changes", _CHANGES, rows).without_empty_columns(),) if rows else ()


def _change(metric: str, history: CaseHistory, change: Change) -> Row:
    worse = (change.found.change > 0) == (METRICS[metric].better == "lower")
    differs = joined([each.shown for each in change.differs])
    cells = (
        Cell("-" if worse else "+"),
        Cell(history.label),
        Cell(change.after.run),
        _value(metric, change.found.before),
        _value(metric, change.found.after),
        Cell(unit_of(metric)),
        Cell(format_percent(change.found.change, signed=True), value=change.found.change),
        Cell(f"{change.found.p_value:.3f}", value=change.found.p_value),
        Cell(differs or "nothing recorded"),
    )
    return Row(cells, "bad" if worse else "good")


def _next(changed: Sequence[tuple[CaseHistory, Change]]) -> tuple[Line, ...]:
    """One command per change of revision, for the first few."""
    lines = []
    for suite, before, after in dict.fromkeys(
        (history.suite, change.before.commit, change.after.commit) for history, change in changed
    ):
        if before and after and before != after:
            old, new = (commit.partition(" ")[0] for commit in (before, after))
            lines.append(
                line("To measure again: ", code(f"gpubench run {suite} --arm before=git={old} --arm after=git={new}"))
            )
    return tuple(lines[:3])


def _series(metric: str, found: Sequence[CaseHistory]) -> tuple[Table, ...]:
    rows = tuple(
        Row((Cell(history.label), Cell(history.machine), *_figures(metric, history.points))) for history in found
    )
    return (Table("series", _SERIES, rows).without_empty_columns(),) if rows else ()


def _figures(metric: str, points: Sequence[HistoryPoint]) -> tuple[Cell, ...]:
    values = [point.value for point in points]
    shown = (points[0].value, points[-1].value, min(values), max(values))
    return (
        Cell(str(len(points)), value=len(points)),
        *(_value(metric, value) for value in shown),
        Cell(unit_of(metric)),
    )


def _value(metric: str, value: float) -> Cell:
    return metric_cell(metric, {metric: Estimate(value=value)})


def _short(found: Sequence[CaseHistory]) -> tuple[Line, ...]:
    short = sum(len(history.points) < MIN_RUNS for history in found)
    if not short:
        return ()
    return (
        line(
            f"{count(short, 'series', 'series')} shorter than {MIN_RUNS} runs: a change of level needs four on each side."
        ),
    )


def history_document(metric: str, found: Sequence[CaseHistory], *, floor: float) -> dict[str, Any]:
    """As JSON; values in the metric's stored unit."""
    return {
        "schema": 1,
        "metric": metric,
        "unit": METRICS[metric].unit,
        "floor": floor,
        "series": [_series_document(history) for history in found],
    }


def _series_document(history: CaseHistory) -> dict[str, Any]:
    return {
        "case": history.case_id,
        "label": history.label,
        "suite": history.suite,
        "machine": history.machine,
        "points": [
            {"run": point.run, "created": point.created, "value": point.value, "n": point.n, "commit": point.commit}
            for point in history.points
        ],
        "changes": [
            {
                "run": change.after.run,
                "previous_run": change.before.run,
                "change": change.found.change,
                "p_value": change.found.p_value,
                "differs": [{"name": each.name, "before": each.before, "after": each.after} for each in change.differs],
            }
            for change in history.changes
        ],
    }
