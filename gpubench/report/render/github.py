"""A check on GitHub: a summary page of the job, and annotations in its log."""

from collections.abc import Iterable, Sequence

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.analysis.gate.gate_outcome import Checked
from gpubench.core.errors import ExitStatus
from gpubench.report.comparison.change_cells import end_text
from gpubench.report.comparison.gate_screen import (
    ended,
    failures,
    gate_title,
    headline,
    limit_text,
    moved_by,
    why_real,
)
from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import ReportModel, plain
from gpubench.report.render.markdown import render_markdown

MAX_SUMMARY_BYTES = 1_000_000
"""Largest summary of a step: GitHub refuses a larger one as a whole."""

MAX_ANNOTATIONS = 10
"""Most annotations of each kind that GitHub shows per step."""


def step_summary(model: ReportModel) -> str:
    """Markdown for the file named by `$GITHUB_STEP_SUMMARY`. A report that is too long is cut after a line, and says
    so.
    """
    text = render_markdown(model)
    if len(text.encode()) <= MAX_SUMMARY_BYTES:
        return text
    kept = text.encode()[:MAX_SUMMARY_BYTES].decode(errors="ignore")
    return (
        kept[: kept.rfind("\n") + 1]
        + "\nThe report is longer than a job summary may be; `gate.json` holds all of it.\n"
    )


def annotations(checked: Checked) -> list[str]:
    """Workflow commands, at most as many as GitHub shows of a kind: errors for what decides the exit status (failures,
    or else crashes, or else the outcome); warnings for accepted failures and other cases that did not end well.
    """
    failed, ends = _failures(checked), ended(checked)
    if checked.status is ExitStatus.GATE_FAILED and failed:
        return [*_shown("error", failed, "failures"), *_shown("warning", _ends(ends), "cases")]
    if checked.status is not ExitStatus.CASE_FAILED:
        undecided = [] if checked.status is ExitStatus.OK else [("gpubench: check", plain(headline(checked)))]
        return [*_shown("error", undecided, "errors"), *_shown("warning", [*failed, *_ends(ends)], "warnings")]
    crashed = [change for change in checked.compared.changes if change.candidate and change.candidate.num_crashed]
    others = [change for change in ends if not change.measured.num_crashed]
    return [*_shown("error", _ends(crashed), "crashes"), *_shown("warning", [*failed, *_ends(others)], "warnings")]


def _failures(checked: Checked) -> list[tuple[str, str]]:
    """(title, message) of every failure."""
    found = []
    for result, change, moved in failures(checked.results):
        broke = f"{change.label}: {moved_by(result, change, moved)}, limit {limit_text(result)}"
        found.append((f"gpubench: {gate_title(result)}", f"{broke}; {why_real(result, change)}"))
    return found


def _ends(changes: Iterable[CaseChange]) -> list[tuple[str, str]]:
    return [("gpubench: did not end well", f"{change.label}: {end_text(change)}") for change in changes]


def _shown(level: str, found: Sequence[tuple[str, str]], things: str) -> list[str]:
    """One command each; if there are too many, the last says how many more."""
    lines = [_command(level, title, message) for title, message in found[:MAX_ANNOTATIONS]]
    if len(found) > MAX_ANNOTATIONS:
        more = f"{len(found) - MAX_ANNOTATIONS + 1} more {things}; the job summary lists all"
        lines[-1] = _command(level, "gpubench", more)
    return lines


def _command(level: str, title: str, message: str) -> str:
    """`::error title=...::message`, with special characters escaped as in GitHub's toolkit."""
    return f"::{level} title={_escaped(title, property_too=True)}::{_escaped(message)}"


def _escaped(text: str, *, property_too: bool = False) -> str:
    escaped = inert(text).replace("%", "%25")
    return escaped.replace(":", "%3A").replace(",", "%2C") if property_too else escaped
