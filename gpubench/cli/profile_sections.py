"""Sections made of the profiles of stored runs."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.report.model.report_model import Section


def case_sections(run: Path, index: int) -> "tuple[Section, ...]":
    """The profile of a case of a stored run, in full; nothing if there is none."""
    from gpubench.profile.figures.summary_model import stored_profile, stored_trace
    from gpubench.report.pages.profile_page import profile_page

    found = stored_profile(run, index)
    return () if found is None else profile_page(found, trace=stored_trace(run, index))


def explanation(compared: "Compared", reference: Path, candidate: Path) -> "tuple[Section, ...]":
    """What the profiles tell about cases that got slower; nothing without profiles, or if arms of a run share them."""
    if reference == candidate:
        return ()
    from gpubench.analysis.compare.overall_change import speed_change
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
