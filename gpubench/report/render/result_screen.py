"""The first screen of a run or a comparison, on a terminal or in a notebook."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from rich.console import Console

from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Line, Remark, ReportModel, Section, Table, line, plain
from gpubench.report.model.words import count
from gpubench.report.render.terminal import TerminalReport

_INDENT = "  "
_MOST_ROWS, _MOST_BEST = 30, 16
_MOST_LINES = 8
_MOST_ENDS = 3
_MOST_FINDINGS, _MOST_NAMED = 4, 3
_SCREEN, _NEXT = 40, 5
"""Lines of the screen, and of what follows it: where the report is, and what to type next."""
_EXPLAINS = 0.05
"""A note gets a line if it explains at least this share of the intervals."""
_FIRST = ("GB601", "GB602")
"""Findings that explain why two figures of the screen seem to contradict each other."""
_TABLES = ("fleet", "waterfall", "compression", "frameworks", "ceilings", "scaling", "collectives")
"""Sections whose tables follow the best settings."""
RESULT_SECTIONS = ("best", *_TABLES, "unmeasured", "findings")


def final_screen(writer: TerminalReport, model: ReportModel) -> None:
    """The screen after a run: the state of the machine, the answers, the best settings, what to switch on, and what to
    do about the findings, in forty lines if possible. `gpubench show` has the rest.
    """

    def block(lines: Sequence[Line], heading: str = "", *, most: int = _MOST_LINES) -> None:
        if not lines:
            return
        writer.blank()
        if heading:
            writer.heading(heading)
        more = (line(f"and {len(lines) - most} more: gpubench show"),) if len(lines) > most else ()
        for said in (*lines[:most], *more):
            writer.text(said, indent=_INDENT, hang=_INDENT * 2)

    writer.heading(f"Result: {model.counts}")
    for said in (*_without_figures(model), *model.state):
        writer.text(said, indent=_INDENT, hang=_INDENT * 2)
    waterfall = model.section("waterfall")
    words = waterfall.lines if waterfall is not None else ()
    block([*(tuple(answer.said) for answer in model.answers), *words] or model.headline)
    best = None if model.section("fleet") is not None else model.section("best")
    for table in _tables(best, _MOST_BEST):
        writer.blank()
        writer.table(replace(table, title=""))
    for section in filter(None, map(model.section, _TABLES)):
        for number, table in enumerate(_tables(section, _MOST_ROWS)):
            writer.blank()
            if not number:
                writer.heading(section.heading)
            writer.table(replace(table, title="") if table.title == section.heading else table)
    block(model.advice, "What to switch on")
    heading = "What makes figures uncertain, and what to do"
    room = _SCREEN - _NEXT - writer.num_lines - 3  # a blank line, the heading, and what else was noted
    block(_what_to_do(model, lambda said: writer.num_lines_of(said, indent=_INDENT, hang=_INDENT * 2), room), heading)


def _tables(section: Section | None, most: int) -> tuple[Table, ...]:
    """The section's tables with only the first note, on the marks; no table of more than `most` rows."""
    tables = section.tables if section is not None else ()
    short = (replace(table, notes=_first_sentences(table.notes)) for table in tables)
    return tuple(table for table in short if len(table.rows) <= most)


def _first_sentences(notes: Sequence[Line]) -> tuple[Line, ...]:
    """The first note without its last part, on the baseline."""
    return tuple(line(plain(note).split("; vs baseline", 1)[0].rstrip(".") + ".") for note in notes[:1])


def _without_figures(model: ReportModel) -> Iterator[Line]:
    """What went wrong, a line per status and reason, then what this machine could not run."""
    section = model.section("unmeasured")
    if section is None:
        return
    for table in section.tables:
        for row in table.rows[:_MOST_ENDS]:
            _, status, number, where, reason = (cell.text for cell in row.cells)
            yield line(f"- {number} {status} (#{where}): {reason}")
        if len(table.rows) > _MOST_ENDS:
            yield line(f"- and {len(table.rows) - _MOST_ENDS} more ends: gpubench show")
    yield from section.lines


def _what_to_do(model: ReportModel, num_lines: Callable[[Line], int], room: int) -> list[Line]:
    """A line per kind of finding: errors, contradictions, then what explains most of the intervals of speed; at least
    one, and as many as fit. The others are named.
    """
    section = model.section("findings")
    remarks = section.remarks if section is not None else ()
    grave = [each for each in remarks if each.severity != "info" or each.explains >= _EXPLAINS]
    ranked = sorted(grave, key=lambda each: (each.severity != "error", each.code not in _FIRST, -each.explains))
    shown: list[Remark] = []
    said: list[Line] = []
    for each in ranked[:_MOST_FINDINGS]:
        share = each.explains >= _EXPLAINS
        explains = f", {format_percent(each.explains, decimals=0)} of the interval" if share else ""
        what = f"{each.mark} {each.name} ({each.code}), {count(each.num_cases, 'case')}{explains}: "
        found = line(what, each.remedies[0] if each.remedies else each.meaning)
        room -= num_lines(found)
        if said and room < 0:
            break
        shown.append(each)
        said.append(found)
    rest = [each for each in remarks if each not in shown]
    if not rest:
        return said
    named = ", ".join(f"{each.name} ({each.code})" if len(rest) <= _MOST_NAMED else each.code for each in rest)
    return [*said, line(f"Also noted: {named}.")]


def print_comparison(writer: TerminalReport, model: ReportModel) -> None:
    """Title, differences in the environment before any number, headline, the rest."""
    writer.heading(model.title)
    writer.text(model.subtitle, tone="muted")
    differs = model.section("differs")
    if differs is not None:
        writer.section(differs)
    writer.headline(model.headline)
    for section in model.sections:
        if section is not differs:
            writer.section(section)


_NOTEBOOK_COLUMNS = 110
_HTML = '<pre style="line-height: 1.25; white-space: pre; overflow-x: auto">{code}</pre>'


def as_html(write: Callable[[TerminalReport], None]) -> str:
    """The output of `write` as HTML for a notebook: monospaced text with terminal colours."""
    console = Console(
        file=io.StringIO(), record=True, width=_NOTEBOOK_COLUMNS, color_system="standard", force_jupyter=False
    )
    write(TerminalReport(console, _NOTEBOOK_COLUMNS, _NOTEBOOK_COLUMNS))
    return console.export_html(code_format=_HTML, inline_styles=True)
