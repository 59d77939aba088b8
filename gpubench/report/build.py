"""Builds the report of a run: one section per topic, in reading order. Reads no file, knows no format."""

import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.extensions import SECTIONS_GROUP, Extension, extensions
from gpubench.core.findings import Validity
from gpubench.core.records import Status
from gpubench.report import fleet_cards
from gpubench.report.first_questions import first_questions
from gpubench.report.glossary import with_glossary
from gpubench.report.headline import answers, headline
from gpubench.report.model.report_model import ReportModel, Section, line
from gpubench.report.model.words import count, sentence
from gpubench.report.pages.case_page import case_pages
from gpubench.report.topics import (
    accuracy,
    batch,
    best,
    cases,
    ceilings,
    cold_start,
    collectives,
    effects,
    efficiency,
    energy,
    findings,
    launches,
    memory,
    method,
    profiles,
    scaling,
    set_up,
    steadiness,
    variants,
    waterfall,
)
from gpubench.report.topics.set_up import machine_line
from gpubench.report.view.run_view import View

Topic = Callable[[View], Section | None]
"""Makes one section; None, or an empty section, if this run has nothing to show in it."""

ORDER: dict[str, Topic] = {
    "fleet": fleet_cards.section,
    "switches": effects.switches_section,
    "best": best.section,
    "batch": batch.section,
    "waterfall": waterfall.section,
    "effects": effects.section,
    "launches": launches.section,
    "compression": variants.compression_section,
    "frameworks": variants.frameworks_section,
    "memory": memory.section,
    "energy": energy.section,
    "ceilings": ceilings.section,
    "efficiency": efficiency.section,
    "scaling": scaling.section,
    "collectives": collectives.section,
    "steadiness": steadiness.section,
    "accuracy": accuracy.section,
    "profiles": profiles.section,
    "cases": cases.section,
    "cold": cold_start.section,
    "unmeasured": cases.unmeasured_section,
    "findings": findings.section,
    "environment": set_up.section,
    "method": method.section,
    "repeat": method.repeat_section,
}
"""The topics by section key."""


def sections(only: Collection[str] | None = None) -> tuple[Topic, ...]:
    """Every section of a report, or `only` these; those of other packages follow the cold start."""
    if only is not None:
        return tuple(topic for key, topic in ORDER.items() if key in only)
    known = list(ORDER.values())
    at = known.index(cases.unmeasured_section)
    return (*known[:at], *map(_guarded, extensions(SECTIONS_GROUP)), *known[at:])


def _guarded(extension: Extension) -> Topic:
    """A section of another package; if it fails, it is left out with a warning."""

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


def sections_of(view: View, only: Collection[str] | None = None) -> Iterator[Section]:
    """The sections of a run that have something to show, each made when it is asked for."""
    asked = _OF_FLEETS if view.summary.fleet is not None and only is None else only
    made = (topic(view) for topic in sections(asked))
    return (section for section in made if section is not None and not section.empty)


def build_report(view: View, *, pages: bool = True, only: Collection[str] | None = None) -> ReportModel:
    """The report of one run; `pages=False` leaves out single cases, `only` limits the sections."""
    summary = view.summary
    subject = str(summary.info.suite.get("description") or f"run {summary.info.run}").strip().rstrip(".")
    made = list(sections_of(view, only))
    found = any(entry.speed is not None for entry in summary.cases)
    made = [replace(each, folded=True) if _is_detail(each, found=found) else each for each in made]
    model = ReportModel(
        title=f"{summary.info.suite_name}: {subject}",
        subtitle=line(f"{counts_text(summary)}. {sentence(machine_line(summary.info))}."),
        run=summary.info.run,
        headline=headline(view.decision) if summary.fleet is None else fleet_cards.verdict_lines(summary.fleet),
        sections=_with_distinct_charts(made),
        pages=case_pages(view.in_full, summary.info) if pages else (),
        answers=answers(view.decision) if summary.fleet is None else (),
        first=first_questions(view) if view.charts and summary.fleet is None else (),
        counts=counts_text(summary),
        advice=effects.advice_lines(view.decision) if summary.fleet is None else (),
        state=set_up.state_lines(summary),
    )
    return with_glossary(model) if view.charts else model


_OF_FLEETS = ORDER.keys() - {"switches", "best", "batch", "waterfall", "effects", "efficiency", "scaling"}
"""A fleet compares cards: which of its probes is fastest is no question."""

_DETAILS = {"memory", "energy", "efficiency", "steadiness", "accuracy", "cold", "findings", "environment", "method"}
_MOST_OPEN = 12


def _is_detail(section: Section, *, found: bool) -> bool:
    """Whether a section follows the answer and its reasons. Without figures, how each case ended is the answer."""
    if section.key in ("cases", "unmeasured"):
        return (section.key == "cases") != found or sum(len(table.rows) for table in section.tables) > _MOST_OPEN
    return section.key in _DETAILS or section.folded


def _with_distinct_charts(made: list[Section]) -> tuple[Section, ...]:
    """Makes chart keys distinct as file names, for workloads whose names differ only in punctuation."""
    met: Counter[str] = Counter()
    kept = []
    for section in made:
        charts = []
        for chart in section.charts:
            met[chart.key] += 1
            charts.append(chart if met[chart.key] == 1 else replace(chart, key=f"{chart.key}-{met[chart.key]}"))
        kept.append(replace(section, charts=tuple(charts)))
    return tuple(kept)


def counts_text(summary: RunSummary) -> str:
    """`12 cases: 9 ok, 1 invalid, 1 oom, 1 skipped`; quality runs are counted separately."""
    total = count(len(summary.cases), "case")
    if summary.quality:
        trained = count(len(summary.quality), "quality run")
        total = f"{total} and {trained}"
    invalid = sum(entry.status is Status.OK and entry.validity is Validity.INVALID for entry in summary.cases)
    ends: list[tuple[str, int]] = []
    for status, number in summary.counts.items():
        if status is Status.OK:
            ends += [("ok", number - invalid), ("invalid", invalid)]
        else:
            ends.append((status.value, number))
    counts = ", ".join(f"{number} {end}" for end, number in ends if number)
    return f"{total}: {counts}" if counts else total
