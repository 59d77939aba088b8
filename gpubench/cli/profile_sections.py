"""Sections made of the profiles of stored runs."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.profile.figures.summary_model import ProfileSummary
    from gpubench.report.model.report_model import Section


def case_sections(run: Path, index: int) -> "tuple[Section, ...]":
    """The profile of a case of a stored run, in full; nothing if there is none."""
    from gpubench.profile.stored_profiles import stored_profile, stored_trace
    from gpubench.report.pages.profile_page import profile_page

    found = stored_profile(run, index)
    return () if found is None else profile_page(found, trace=stored_trace(run, index))


def explanation(compared: "Compared", reference: Path, candidate: Path) -> "tuple[Section, ...]":
    """What the profiles tell about cases that got slower; nothing without profiles, or if arms of a run share them."""
    if reference == candidate:
        return ()
    from gpubench.analysis.compare.overall_change import speed_change
    from gpubench.report.comparison.profile_differences import profile_section

    slower = [
        change
        for change in compared.changes
        if (moved := speed_change(change)) and _looks_slower(moved.judgement, moved.reason)
    ]
    found = {}
    for change in slower:
        pair = [
            _profile(side, folder) for side, folder in ((change.reference, reference), (change.candidate, candidate))
        ]
        if pair[0] is not None and pair[1] is not None:
            found[change.case_id] = (pair[0], pair[1])
    section = profile_section(slower, found)
    return () if section.empty else (section,)


def _looks_slower(judgement: str, reason: str) -> bool:
    from gpubench.analysis.verdict.not_interleaved import NOT_INTERLEAVED

    return judgement == "worse" or reason.startswith(f"{NOT_INTERLEAVED}: looks slower")


def _profile(side: object, folder: Path) -> "ProfileSummary | None":
    """The profile of a case of a stored run; None if there is none, or it cannot be read."""
    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.profile.stored_profiles import stored_profile

    return stored_profile(folder, side.planned.index) if isinstance(side, CaseSummary) else None
