"""The screen of `gpubench history`."""

from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.history.case_history import CaseHistory, Change
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import metric_title, unit_of
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.report_model import (
    Cell,
    Column,
    Line,
    ReportModel,
    Section,
    Table,
    code,
    line,
    lines,
    strong,
)
from gpubench.report.model.words import count, joined

MIN_RUNS = 8


def build_history(metric: str, found: Sequence[CaseHistory], *, floor: float, notes: Sequence[str] = ()) -> ReportModel:
    """The screen: changes first, then every series. `notes` say what was left out."""
    changed = [(history, change) for history in found for change in history.changes]
    short = sum(len(history.points) < MIN_RUNS for history in found)
    needs = f"shorter than {MIN_RUNS} runs: a change of level needs four on each side."
    too_short = f"{count(short, 'series', 'series')} {needs}" if 0 < short < len(found) else ""
    sections = (
        Section("changes", "Changes of level", tables=_changes(metric, changed)),
        Section("next", "Next", lines=_next(changed)),
        Section("series", "Series", tables=_series(metric, found)),
        Section("notes", "Notes", lines=lines(too_short, *notes)),
    )
    runs = len({point.run for history in found for point in history.points})
    return ReportModel(
        title=f"History of {metric_title(metric)}",
        subtitle=line(
            f"{count(len(found), 'case')} over {count(runs, 'run')}; changes of {format_percent(floor)} and more"
        ),
        run="",
        headline=(_headline(changed, len(found), short),),
        sections=tuple(section for section in sections if not section.empty),
    )


def _headline(changed: Sequence[tuple[CaseHistory, Change]], num_series: int, num_short: int) -> Line:
    if not changed and num_short == num_series:
        told = f"No series has {MIN_RUNS} runs yet: a change of level needs four on each side."
        return line(strong("Too early to tell."), " ", told)
    if not changed:
        where = f" in the {count(num_series - num_short, 'series', 'series')} that can tell" if num_short else ""
        return line(f"No change of level{where}.")
    cases = len({(history.machine, history.case_id) for history, _ in changed})
    said = f"{count(len(changed), 'change')} of level in {count(cases, 'case')}."
    return line(
        strong(said), " Stored runs were not interleaved: take this as a reason to measure again, not as a verdict."
    )


def _changes(metric: str, changed: Sequence[tuple[CaseHistory, Change]]) -> tuple[Table, ...]:
    if not changed:
        return ()

    def of(get: Callable[[Change], Cell | str]) -> Callable[[tuple[CaseHistory, Change]], Cell | str]:
        return lambda row: get(row[1])

    def worse(row: tuple[CaseHistory, Change]) -> bool:
        return (row[1].found.change > 0) == (METRICS[metric].better == "lower")

    def percent(change: Change) -> Cell:
        return Cell(format_percent(change.found.change, signed=True), value=change.found.change)

    def differs(change: Change) -> str:
        return joined([each.shown for each in change.differs]) or "nothing recorded"

    columns = (
        Column("mark", "", "left", cell=lambda row: "-" if worse(row) else "+"),
        Column("case", "case", "left", flexible=True, cell=lambda row: row[0].label),
        Column("run", "from run", "left", cell=of(lambda change: change.after.run)),
        Column("before", "before", priority=2, cell=of(lambda change: _value(metric, change.found.before))),
        Column("after", "after", priority=2, cell=of(lambda change: _value(metric, change.found.after))),
        Column("unit", "", "left", priority=2, cell=of(lambda _: unit_of(metric))),
        Column("change", "change", cell=of(percent)),
        Column(
            "p",
            "p",
            priority=3,
            cell=of(lambda change: Cell(f"{change.found.p_value:.3f}", value=change.found.p_value)),
        ),
        Column("differs", "what else changed", "left", flexible=True, priority=1, cell=of(differs)),
    )
    table = Table.of("changes", columns, changed, tone=lambda row: "bad" if worse(row) else "good")
    return (table.without_empty_columns(),)


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
    def of(pick: Callable[[Sequence[float]], float]) -> Callable[[CaseHistory], Cell]:
        return lambda history: _value(metric, pick([point.value for point in history.points]))

    columns = (
        Column("case", "case", "left", flexible=True, cell=lambda history: history.label),
        Column("machine", "machine", "left", priority=3, cell=lambda history: history.machine),
        Column("runs", "runs", cell=lambda history: len(history.points)),
        Column("first", "first", priority=2, cell=of(lambda values: values[0])),
        Column("last", "last", cell=of(lambda values: values[-1])),
        Column("least", "least", priority=1, cell=of(min)),
        Column("most", "most", priority=1, cell=of(max)),
        Column("unit", "", "left", cell=lambda _: unit_of(metric)),
    )
    return (Table.of("series", columns, found).without_empty_columns(),) if found else ()


def _value(metric: str, value: float) -> Cell:
    return metric_cell(metric, {metric: Estimate(value=value)})


def history_document(metric: str, found: Sequence[CaseHistory], *, floor: float) -> dict[str, Any]:
    """The JSON document; values in the metric's stored unit."""
    return {
        "schema": 1,
        "metric": metric,
        "unit": METRICS[metric].unit,
        "floor": floor,
        "series": [
            {
                "case": history.case_id,
                "label": history.label,
                "suite": history.suite,
                "machine": history.machine,
                "points": [
                    {name: getattr(point, name) for name in ("run", "created", "value", "n", "commit")}
                    for point in history.points
                ],
                "changes": [
                    {
                        "run": change.after.run,
                        "previous_run": change.before.run,
                        "change": change.found.change,
                        "p_value": change.found.p_value,
                        "differs": [
                            {"name": each.name, "before": each.before, "after": each.after} for each in change.differs
                        ],
                    }
                    for change in history.changes
                ],
            }
            for history in found
        ],
    }
