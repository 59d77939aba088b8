"""Cases without figures, gathered by how and why they ended."""

from collections.abc import Iterable

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.report.model.report_model import Column, Section, Table
from gpubench.report.model.words import ranges
from gpubench.report.view.case_tables import QUIET, status_word, tone
from gpubench.report.view.run_view import View

_ORDER = [Status.FAILED, Status.TIMEOUT, Status.OOM, Status.UNSUPPORTED, Status.SKIPPED]
_COLUMNS = (
    Column("mark", "", "left", cell=lambda found: "" if found[0].status in QUIET else "-"),
    Column("status", "status", "left", cell=lambda found: status_word(found[0])),
    Column("count", "cases", cell=len),
    Column("numbers", "#", "left", flexible=True, cell=lambda found: ranges(each.planned.index for each in found)),
    Column("reason", "reason", "left", flexible=True, cell=lambda found: found[0].reason or ""),
)


def section(view: View) -> Section | None:
    table = unmeasured_table(view.everything)
    return Section("unmeasured", "Cases without figures", short="Without figures", tables=(table,)) if table else None


def unmeasured_table(summaries: Iterable[CaseSummary]) -> Table | None:
    """One row per status and reason, what went wrong first. None where every case has figures."""
    groups: dict[tuple[Status, str], list[CaseSummary]] = {}
    for entry in summaries:
        if entry.status is not Status.OK:
            groups.setdefault((entry.status, entry.reason or ""), []).append(entry)
    ordered = sorted(groups.values(), key=lambda found: _ORDER.index(found[0].status))
    return Table.of("unmeasured", _COLUMNS, ordered, tone=lambda found: tone(found[0])) if ordered else None
