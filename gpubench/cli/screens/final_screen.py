"""The screens that end a command, on stdout."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpubench.cli.console import prose_width, result_console, table_width
from gpubench.report.render.terminal import TerminalReport

if TYPE_CHECKING:
    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.analysis.compare.machine_choice import MachineChoice
    from gpubench.report.comparison.why_slower import Answer
    from gpubench.report.model.report_model import Section


def result_writer(*, wide: bool = False) -> TerminalReport:
    """A writer of report parts to stdout, at its width."""
    return TerminalReport(result_console(), table_width(sys.stdout, wide=wide), prose_width(sys.stdout))


def print_compared_json(
    found: "Sequence[Compared]",
    why: "Sequence[Mapping[str, Answer]] | None" = None,
    choice: "MachineChoice | None" = None,
) -> None:
    from gpubench.report.comparison.json_documents import comparison_document, to_lines

    documents = [comparison_document(each, why[at] if why else None, choice) for at, each in enumerate(found)]
    content: Any = documents[0] if len(documents) == 1 else {"schema": documents[0]["schema"], "comparisons": documents}
    sys.stdout.write(to_lines(content))


def print_compared(
    compared: "Compared",
    folders: tuple[Path, Path],
    *,
    verbose: bool,
    wide: bool,
    again: bool,
    why: "Mapping[str, Answer] | None" = None,
    choice: "MachineChoice | None" = None,
) -> None:
    """`why` is what was found about the cases that got slower, `choice` what two machines offer; None if not asked."""
    from gpubench.report.comparison.comparison_report import build_comparison
    from gpubench.report.comparison.machine_section import machine_section
    from gpubench.report.comparison.why_slower import why_sections
    from gpubench.report.render.result_screen import print_comparison

    writer = result_writer(wide=wide)
    if again:
        writer.blank()
    extra = _explanation(compared, *folders) if why is None else why_sections(why)
    if choice is not None:
        extra = (machine_section(choice, compared.reference.name, compared.candidate.name), *extra)
    print_comparison(writer, build_comparison(compared, verbose=verbose, extra=extra))


def _explanation(compared: "Compared", reference: Path, candidate: Path) -> "tuple[Section, ...]":
    """The profiles' explanation of cases that got slower; nothing without profiles, or if arms of a run share them."""
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
