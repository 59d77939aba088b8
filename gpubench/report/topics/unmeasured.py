"""Cases without figures, gathered by how and why they ended."""

from collections.abc import Iterable

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.report.model.report_model import Cell, Column, Row, Section, Table
from gpubench.report.model.words import ranges
from gpubench.report.view.case_tables import status_word, tone
from gpubench.report.view.run_view import View

_COLUMNS = (
    Column("mark", "", "left"),
    Column("status", "status", "left"),
    Column("count", "cases"),
    Column("numbers", "#", "left", flexible=True),
    Column("reason", "reason", "left", flexible=True),
)
_ORDER = [Status.FAILED, Status.TIMEOUT, Status.OOM, Status.UNSUPPORTED, Status.SKIPPED]


def unmeasured_table(summaries: Iterable[CaseSummary]) -> Table | None:
    """One row per status and reason, what went wrong first. None where every case has figures."""
    groups: dict[tuple[Status, str], list[CaseSummary]] = {}
    for entry in summaries:
        if entry.status is not Status.OK:
            groups.setdefault((entry.status, entry.reason or ""), []).append(entry)
    ordered = sorted(groups.items(), key=lambda group: _ORDER.index(group[0][0]))
    rows = tuple(_row(reason, found) for (_, reason), found in ordered)
    return Table("unmeasured", _COLUMNS, rows) if rows else None


def _row(reason: str, found: list[CaseSummary]) -> Row:
    quiet = found[0].status in (Status.SKIPPED, Status.UNSUPPORTED)
    cells = (
        Cell("" if quiet else "-"),
        Cell(status_word(found[0])),
        Cell(str(len(found)), value=len(found)),
        Cell(ranges(entry.planned.index for entry in found)),
        Cell(reason),
    )
    return Row(cells, tone(found[0]))


def section(view: View) -> Section | None:
    table = unmeasured_table(view.everything)
    return Section("unmeasured", "Cases without figures", short="Without figures", tables=(table,)) if table else None
