"""Pieces of the sentences that charts are titled with."""

from collections.abc import Sequence

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.findings import Effect, Validity
from gpubench.core.units import format_percent
from gpubench.report.view.contests import Contest
from gpubench.suite.cases.labels import short_word

BAND = "The band is the 95 % interval over launches."
HOLLOW = "Hollow marks are weakened by a finding."


def standing(entry: CaseSummary) -> str:
    """`valid`, `suspect` or `unverified`: what a mark of this case may claim."""
    if entry.validity is Validity.SUSPECT:
        return "suspect"
    return "unverified" if entry.correctness == "unverified" else "valid"


def times(ratio: float) -> str:
    """`3.4x`; whole from 10 on."""
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x" if ratio >= 1.95 else f"{ratio:.2f}x"


def change(ratio: float) -> str:
    """`+52%` of 1.52."""
    return format_percent(ratio - 1, signed=True, decimals=0 if abs(ratio - 1) >= 0.095 else 1)


def with_hollow(reading: str, entries: Sequence[CaseSummary]) -> str:
    """`reading`, and what hollow marks mean where there are any."""
    return f"{reading} {HOLLOW}" if any(standing(entry) != "valid" for entry in entries) else reading


def name_of(entry: CaseSummary, contest: Contest) -> str:
    """`amp-bf16 b256 NHWC`: what tells a case of this contest from the others."""
    differ = [name for name in contest.differing if name != "precision"]
    return " ".join([entry.case.precision, *(short_word(name, getattr(entry.case, name)) for name in differ)])


def why_not(entry: CaseSummary) -> str:
    """Why a case with a figure may not win, its gravest finding first."""
    for effect in (Effect.INVALIDATES, Effect.WEAKENS):
        for found in entry.findings:
            if found.effect == effect:
                return f"{found.message} ({found.code})"
    return "its output failed the check." if entry.correctness == "fail" else "its output was not verified."
