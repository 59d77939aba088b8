"""Prints the screen of a profile."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpubench.profile.figures.summary_model import ProfileSummary

_OTHER_COLUMNS = 64
_LEAST_NAME = 32


def print_profile(summary: "ProfileSummary", *, label: str, trace: Path | None, top: int, wide: bool) -> None:
    """On stdout. `trace` is where the trace was kept (None: it was not); `top` how many kernels are listed."""
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.report.pages.profile_page import profile_page

    writer = result_writer(wide=wide)
    name_width = max(_LEAST_NAME, writer.table_width - _OTHER_COLUMNS)
    head, *sections = profile_page(summary, label=label, trace=trace, top=top, name_width=name_width)
    writer.heading(head.heading)
    writer.facts(head.facts)
    for section in sections:
        writer.section(section)
