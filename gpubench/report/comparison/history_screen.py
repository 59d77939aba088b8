"""The screen of `gpubench history`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

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

Moved = tuple[str, CaseHistory, Change]
"""A metric, and a change of its level in a case."""


class Addresses(Protocol):
    """Where the pages of a site are; empty for a page that is not there."""

    def case(self, history: CaseHistory, /) -> str: ...
    def machine(self, name: str, /) -> str: ...
    def report(self, run: str, created: str, /) -> str: ...


def build_history(metric: str, found: Sequence[CaseHistory], *, floor: float, notes: Sequence[str] = ()) -> ReportModel:
    """The screen: changes first, then every series. `notes` say what was left out."""
    changed = [(metric, history, change) for history in found for change in history.changes]
    short = sum(len(history.points) < MIN_RUNS for history in found)
    needs = f"shorter than {MIN_RUNS} runs: a change of level needs four on each side."
    too_short = f"{count(short, 'series', 'series')} {needs}" if 0 < short < len(found) else ""
    sections = (
        Section("changes", "Changes of level", tables=changes_tables(changed)),
        Section("next", "Next", lines=measure_again(changed)),
        Section("series", "Series", tables=series_tables([(metric, each) for each in found])),
        Section("notes", "Notes", lines=lines(too_short, *notes)),
    )
    runs = len({point.run for history in found for point in history.points})
    return ReportModel(
        title=f"History of {metric_title(metric)}",
        subtitle=line(
            f"{count(len(found), 'case')} over {count(runs, 'run')}; changes of {format_percent(floor)} and more"
        ),
        run="",
        headline=(headline_of(changed, len(found), short),),
        sections=tuple(section for section in sections if not section.empty),
    )


def headline_of(changed: Sequence[Moved], num_series: int, num_short: int) -> Line:
    """Whether any level changed; `num_short` series are too short to tell."""
    if not changed and num_short == num_series:
        told = f"No series has {MIN_RUNS} runs yet: a change of level needs four on each side."
        return line(strong("Too early to tell."), " ", told)
    if not changed:
        where = f" in the {count(num_series - num_short, 'series', 'series')} that can tell" if num_short else ""
        return line(f"No change of level{where}.")
    cases = len({(history.machine, history.case_id) for _, history, _ in changed})
    said = f"{count(len(changed), 'change')} of level in {count(cases, 'case')}."
    return line(
        strong(said), " Stored runs were not interleaved: take this as a reason to measure again, not as a verdict."
    )


def is_worse(metric: str, change: Change) -> bool:
    return (change.found.change > 0) == (METRICS[metric].better == "lower")


def changes_tables(changed: Sequence[Moved], pages: Addresses | None = None) -> tuple[Table, ...]:
    """The changes, with metric, machine and links where `pages` are given; no table without changes."""
    if not changed:
        return ()

    def of(get: Callable[[Change], Cell | str]) -> Callable[[Moved], Cell | str]:
        return lambda row: get(row[2])

    def worse(row: Moved) -> bool:
        return is_worse(row[0], row[2])

    def percent(change: Change) -> Cell:
        return Cell(format_percent(change.found.change, signed=True), value=change.found.change)

    def differs(change: Change) -> str:
        return joined([each.shown for each in change.differs]) or "nothing recorded"

    def run(change: Change) -> Cell:
        after = change.after
        return Cell(after.run, href=pages.report(after.run, after.created) if pages else "")

    columns = (
        Column("mark", "", "left", cell=lambda row: "-" if worse(row) else "+"),
        Column("case", "case", "left", flexible=True, cell=lambda row: _case(row[1], pages)),
        *_columns_of_pages(pages),
        Column("run", "from run", "left", cell=of(run)),
        Column("before", "before", priority=2, cell=lambda row: _value(row[0], row[2].found.before)),
        Column("after", "after", priority=2, cell=lambda row: _value(row[0], row[2].found.after)),
        Column("unit", "", "left", priority=2, cell=lambda row: unit_of(row[0])),
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


def _case(history: CaseHistory, pages: Addresses | None) -> Cell:
    return Cell(history.label, href=pages.case(history) if pages else "")


def _columns_of_pages(pages: Addresses | None) -> tuple[Column, ...]:
    """Metric and machine of rows that begin with a metric and a history."""
    if pages is None:
        return ()

    def machine(row: Sequence[Any]) -> Cell:
        return Cell(row[1].machine, href=pages.machine(row[1].machine))

    return (
        Column("metric", "metric", "left", cell=lambda row: metric_title(row[0])),
        Column("machine", "machine", "left", flexible=True, cell=machine),
    )


def measure_again(changed: Sequence[Moved]) -> tuple[Line, ...]:
    """One command per change of revision, for the first few."""
    lines = []
    for suite, before, after in dict.fromkeys(
        (history.suite, change.before.commit, change.after.commit) for _, history, change in changed
    ):
        if before and after and before != after:
            old, new = (commit.partition(" ")[0] for commit in (before, after))
            lines.append(
                line("To measure again: ", code(f"gpubench run {suite} --arm before=git={old} --arm after=git={new}"))
            )
    return tuple(lines[:3])


def series_tables(found: Sequence[tuple[str, CaseHistory]], pages: Addresses | None = None) -> tuple[Table, ...]:
    """A row per metric and history, with links and the number of changes where `pages` are given."""

    def of(pick: Callable[[Sequence[float]], float]) -> Callable[[tuple[str, CaseHistory]], Cell]:
        return lambda row: _value(row[0], pick([point.value for point in row[1].points]))

    machine = Column("machine", "machine", "left", priority=3, cell=lambda row: row[1].machine)
    columns = (
        Column("case", "case", "left", flexible=True, cell=lambda row: _case(row[1], pages)),
        *(_columns_of_pages(pages) or (machine,)),
        Column("runs", "runs", cell=lambda row: len(row[1].points)),
        Column("first", "first", priority=2, cell=of(lambda values: values[0])),
        Column("last", "last", cell=of(lambda values: values[-1])),
        Column("least", "least", priority=1, cell=of(min)),
        Column("most", "most", priority=1, cell=of(max)),
        Column("unit", "", "left", cell=lambda row: unit_of(row[0])),
        *((Column("changes", "changes", cell=lambda row: len(row[1].changes)),) if pages else ()),
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
