"""What GitHub shows of a check: a summary page of the job, and annotations in its log."""

from gpubench.analysis.checking import Checked
from gpubench.core.errors import ExitStatus
from gpubench.report.comparison_cells import change_text, kind_word
from gpubench.report.comparison_gate import failures, gate_title, limit_text, why_real
from gpubench.report.markdown import render_markdown
from gpubench.report.model import ReportModel
from gpubench.report.text import inert

MAX_SUMMARY_BYTES = 1_000_000
"""A step's summary may take 1 MiB; one that is larger is refused whole."""

MAX_ANNOTATIONS = 10
"""Of each kind that GitHub shows per step."""


def step_summary(model: ReportModel) -> str:
    """Markdown for the file that `$GITHUB_STEP_SUMMARY` names. Too large a report is cut at a line, which is said."""
    text = render_markdown(model)
    if len(text.encode()) <= MAX_SUMMARY_BYTES:
        return text
    kept = text.encode()[:MAX_SUMMARY_BYTES].decode(errors="ignore")
    return (
        kept[: kept.rfind("\n") + 1]
        + "\nThe report is longer than a job summary may be; `gate.json` holds all of it.\n"
    )


def annotations(checked: Checked) -> list[str]:
    """Workflow commands: an error per failure, a warning for cases that crashed, at most as many as GitHub shows."""
    found = failures(checked.results)
    level = "error" if checked.status is ExitStatus.GATE_FAILED else "warning"
    lines = [
        _command(level, f"gpubench: {gate_title(result)}",
                 f"{change.label}: {kind_word(change) if moved is None else change_text(moved)}, limit {limit_text(result)}; {why_real(result, change)}")
        for result, change, moved in found[:MAX_ANNOTATIONS]
    ]  # fmt: skip
    if len(found) > MAX_ANNOTATIONS:
        lines[-1] = _command(
            level, "gpubench", f"{len(found) - MAX_ANNOTATIONS + 1} more failures; the job summary lists all"
        )
    if checked.status is ExitStatus.CASE_FAILED:
        lines.append(_command("error", "gpubench", "cases crashed or ran out of time; the job summary lists them"))
    return lines


def _command(level: str, title: str, message: str) -> str:
    """`::error title=...::message`, its special characters escaped as GitHub's toolkit does."""
    return f"::{level} title={_escaped(title, property_too=True)}::{_escaped(message)}"


def _escaped(text: str, *, property_too: bool = False) -> str:
    escaped = inert(text).replace("%", "%25")
    return escaped.replace(":", "%3A").replace(",", "%2C") if property_too else escaped
