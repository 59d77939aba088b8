"""What a person reads first of a run or a comparison, on a terminal or in a notebook."""

import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from gpubench.report.model.report_model import ReportModel, Section, Span
from gpubench.report.render.terminal import TerminalReport

_MOST_ROWS = 30
RESULT_SECTIONS = (
    "best",
    "waterfall",
    "effects",
    "ceilings",
    "scaling",
    "collectives",
    "accuracy",
    "unmeasured",
    "findings",
)


def final_screen(writer: TerminalReport, model: ReportModel) -> None:
    """After a run: the findings in words, the best settings, what each setting does, what spoiled the numbers."""
    writer.heading("Result")
    writer.text(model.subtitle, tone="muted", indent="  ")
    for said in model.headline:
        writer.blank()
        writer.text(said, indent="  ")
    for key in RESULT_SECTIONS[:-1]:
        section = model.section(key)
        # Ceilings only where there is room for them on a screen that is read in one go.
        fits = section is None or key != "ceilings" or sum(len(table.rows) for table in section.tables) <= _MOST_ROWS
        if section is not None and fits and not replace(section, charts=()).empty:
            writer.section(section)
    findings = model.section("findings")
    if findings is None:
        return
    grave = tuple(remark for remark in findings.remarks if remark.severity != "info")
    if grave:
        writer.section(Section("warnings", "What weakened the figures", remarks=grave))
    notes = [
        f"{remark.code} {remark.name} ({remark.num_cases})" for remark in findings.remarks if remark.severity == "info"
    ]
    if notes:
        writer.blank()
        writer.text((Span(f"Also noted, without effect on a figure: {', '.join(notes)}."),), tone="muted")


def print_comparison(writer: TerminalReport, model: ReportModel) -> None:
    """Title, what differs in the environment before any number, headline, the rest."""
    writer.heading(model.title)
    writer.text(model.subtitle, tone="muted")
    differs = model.section("differs")
    if differs is not None:
        writer.section(differs)
    writer.headline(model.headline)
    for section in model.sections:
        if section is not differs:
            writer.section(section)


_NOTEBOOK_COLUMNS = 110
_HTML = '<pre style="line-height: 1.25; white-space: pre; overflow-x: auto">{code}</pre>'


def as_html(write: Callable[[TerminalReport], None]) -> str:
    """What `write` prints, as HTML for a notebook: text of one width, with the colours of a terminal."""
    console = Console(
        file=io.StringIO(), record=True, width=_NOTEBOOK_COLUMNS, color_system="standard", force_jupyter=False
    )
    write(TerminalReport(console, _NOTEBOOK_COLUMNS, _NOTEBOOK_COLUMNS))
    return console.export_html(code_format=_HTML, inline_styles=True)
