"""The sections of a run's report, in reading order. A new section is its module and a line here."""

from collections.abc import Callable

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
    """Every section that a report asks for."""
    return ORDER
