"""A comparison or a check on a terminal: what differs in the environment comes before any number."""

from gpubench.report.model import ReportModel
from gpubench.report.terminal import TerminalReport


def print_comparison(writer: TerminalReport, model: ReportModel) -> None:
    """Title, differences, headline, the rest."""
    writer.heading(model.title)
    writer.text(model.subtitle, tone="muted")
    differs = model.section("differs")
    if differs is not None:
        writer.section(differs)
    writer.headline(model.headline)
    for section in model.sections:
        if section is not differs:
            writer.section(section)
