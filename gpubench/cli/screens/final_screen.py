"""The screens that end a command, on stdout."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from gpubench.cli.console import prose_width, result_console, table_width
from gpubench.report.render.terminal import TerminalReport

if TYPE_CHECKING:
    from gpubench.report.model.report_model import ReportModel, Section

_MOST_ROWS = 30


def result_writer(*, wide: bool = False) -> TerminalReport:
    """Writes parts of a report to stdout, at its width."""
    return TerminalReport(result_console(), table_width(sys.stdout, wide=wide), prose_width(sys.stdout))


def _short(section: "Section") -> bool:
    """Whether there is room for it on a screen that is read in one go."""
    return sum(len(table.rows) for table in section.tables) <= _MOST_ROWS


def final_screen(writer: TerminalReport, model: "ReportModel") -> None:
    """After a run: the findings in words, the best settings, what each setting does, what spoiled the numbers."""
    from gpubench.report.model.report_model import Section, Span

    writer.heading("Result")
    writer.text(model.subtitle, tone="muted", indent="  ")
    for said in model.headline:
        writer.blank()
        writer.text(said, indent="  ")
    for key in ("best", "waterfall", "effects", "ceilings", "accuracy", "unmeasured"):
        section = model.section(key)
        if section is not None and (key != "ceilings" or _short(section)) and not replace(section, charts=()).empty:
            writer.section(section)
    findings = model.section("findings")
    if findings is None:
        return
    grave = tuple(remark for remark in findings.remarks if remark.severity != "info")
    if grave:
        writer.section(Section("warnings", "What spoiled numbers", remarks=grave))
    notes = [
        f"{remark.code} {remark.name} ({remark.num_cases})" for remark in findings.remarks if remark.severity == "info"
    ]
    if notes:
        writer.blank()
        writer.text((Span(f"Also noted, changing no figure: {', '.join(notes)}."),), tone="muted")
