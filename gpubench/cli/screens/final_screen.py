"""The screens that end a command, on stdout."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpubench.cli.console import prose_width, result_console, table_width
from gpubench.report.render.terminal import TerminalReport

if TYPE_CHECKING:
    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.report.model.report_model import ReportModel, Section

_MOST_ROWS = 30
RESULT_SECTIONS = ("best", "waterfall", "effects", "ceilings", "accuracy", "unmeasured", "findings")


def result_writer(*, wide: bool = False) -> TerminalReport:
    """Writes parts of a report to stdout, at its width."""
    return TerminalReport(result_console(), table_width(sys.stdout, wide=wide), prose_width(sys.stdout))


def final_screen(writer: TerminalReport, model: "ReportModel") -> None:
    """After a run: the findings in words, the best settings, what each setting does, what spoiled the numbers."""
    from gpubench.report.model.report_model import Section, Span

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


def print_comparison(writer: TerminalReport, model: "ReportModel") -> None:
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


def print_compared_json(found: "Sequence[Compared]") -> None:
    from gpubench.report.comparison.json_documents import comparison_document, to_lines

    documents = [comparison_document(each) for each in found]
    content: Any = documents[0] if len(documents) == 1 else {"schema": documents[0]["schema"], "comparisons": documents}
    sys.stdout.write(to_lines(content))


def print_compared(compared: "Compared", folders: tuple[Path, Path], *, verbose: bool, wide: bool, again: bool) -> None:
    from gpubench.report.comparison.comparison_report import build_comparison

    writer = result_writer(wide=wide)
    if again:
        writer.blank()
    print_comparison(writer, build_comparison(compared, verbose=verbose, extra=_explanation(compared, *folders)))


def _explanation(compared: "Compared", reference: Path, candidate: Path) -> "tuple[Section, ...]":
    """What the profiles tell about cases that got slower; nothing without profiles, or if arms of a run share them."""
    if reference == candidate:
        return ()
    from gpubench.analysis.compare.compare_sides import speed_change
    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.analysis.verdict.not_interleaved import NOT_INTERLEAVED
    from gpubench.profile.figures.summary_model import stored_profile
    from gpubench.report.comparison.profile_differences import profile_section

    slower, found = [], {}
    for change in compared.changes:
        moved = speed_change(change)
        if not moved or (
            moved.judgement != "worse" and not moved.reason.startswith(f"{NOT_INTERLEAVED}: looks slower")
        ):
            continue
        slower.append(change)
        if isinstance(change.reference, CaseSummary) and isinstance(change.candidate, CaseSummary):
            before = stored_profile(reference, change.reference.planned.index)
            after = stored_profile(candidate, change.candidate.planned.index)
            if before is not None and after is not None:
                found[change.case_id] = (before, after)
    section = profile_section(slower, found)
    return () if section.empty else (section,)
