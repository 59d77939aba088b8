"""The sections of a run's report, in reading order. A new section is its module and a line here."""

import traceback
from collections.abc import Callable

from gpubench.core.extensions import SECTIONS_GROUP, Extension, extensions
from gpubench.report.model.report_model import Section
from gpubench.report.topics import (
    accuracy,
    batch,
    best,
    cases,
    ceilings,
    cold_start,
    effects,
    efficiency,
    energy,
    findings,
    memory,
    method,
    profiles,
    repeat,
    set_up,
    steadiness,
    switches,
    unmeasured,
    waterfall,
)
from gpubench.report.view.run_view import View

Topic = Callable[[View], Section | None]
"""Makes one section; None, or an empty section, where this run has nothing to show in it."""

ORDER: tuple[Topic, ...] = (
    switches.section,
    best.section,
    batch.section,
    waterfall.section,
    effects.section,
    memory.section,
    energy.section,
    ceilings.section,
    efficiency.section,
    steadiness.section,
    accuracy.section,
    profiles.section,
    cases.section,
    cold_start.section,
    unmeasured.section,
    findings.section,
    set_up.section,
    method.section,
    repeat.section,
)


def sections() -> tuple[Topic, ...]:
    """Every section that a report asks for; those of other packages follow the cold start."""
    at = ORDER.index(unmeasured.section)
    return (*ORDER[:at], *map(_guarded, extensions(SECTIONS_GROUP)), *ORDER[at:])


def _guarded(extension: Extension) -> Topic:
    """A section of another package that fails is left out with a warning, and the report is written without it."""

    def section(view: View) -> Section | None:
        try:
            made = extension.value(view)
        except Exception as error:  # noqa: BLE001 - another package may raise anything
            where = traceback.extract_tb(error.__traceback__)[-1]
            extension.left_out(f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})")
            return None
        if made is None or isinstance(made, Section):
            return made
        extension.left_out(f"expected a Section or None, got {made!r}")
        return None

    return section
