"""The report as Markdown for code hosts: tables, no HTML. Text from outside is escaped."""

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import Fact, Line, Remark, ReportModel, Section, Span, Table
from gpubench.report.model.words import count

_SPECIAL = re.compile(r"([\\`*_\[\]<#|~&$])")
_LINK_MAKERS = (("://", "&#58;//"), ("@", "&#64;"), ("www.", "www&#46;"))
"""Code hosts turn bare addresses into links and names into mentions; an entity in the middle prevents that."""
_BULLET = re.compile(r"^(\s*)([-+=>])(?=\s|$)")
_NUMBERED = re.compile(r"^(\s*\d+)([.)])(?=\s|$)")


def render_markdown(model: ReportModel, *, charts: str | None = None) -> str:
    """The whole report without single cases, which `gpubench show RUN:CASE` has.

    `charts` is the folder beside the file with each chart as SVG and CSV; None for no charts.
    """
    parts = [f"# {escape(model.title)}", text(model.subtitle), f"Run `{_code(model.run)}`"]
    parts += [_facts(model.first), *(text(said) for said in model.headline[bool(model.first) :])]
    shown = [section if charts else replace(section, charts=()) for section in model.body]
    parts += [_section(section, charts) for section in shown if not section.empty]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section, charts: str | None = None) -> str:
    parts = [f"## {escape(section.heading)}", *(text(said) for said in section.lines)]
    parts.append(_facts(section.facts))
    for chart in section.charts if charts else ():
        place = quote(f"{charts}/{chart.key}", safe="/")
        how = f"How to read: {prose(chart.reading)} [Data as CSV]({place}.csv)"
        parts += [f"### {escape(chart.title)}", f"![{inline(chart.alt)}]({place}.svg)", how]
    parts += [part for table in section.tables for part in _table(table)]
    parts += [_remark(remark) for remark in section.remarks]
    return "\n\n".join(part for part in parts if part)


def _facts(facts: Sequence[Fact]) -> str:
    return "\n".join(f"- **{escape(fact.name)}**: {text(fact.text)}" for fact in facts)


def _table(table: Table) -> list[str]:
    if not table.rows:
        return []
    head = _row([inline(column.title) or " " for column in table.columns])
    rule = _row(["---:" if column.align == "right" else ":---" for column in table.columns])
    rows = [_row([inline(cell.full) for cell in row.cells]) for row in table.rows]
    notes = [text(note) for note in table.notes]
    return [*([f"**{escape(table.title)}**"] if table.title else []), "\n".join([head, rule, *rows]), *notes]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _remark(remark: Remark) -> str:
    head = (
        f"**{escape(remark.code)} {escape(remark.name)}** ({remark.severity}, "
        f"{count(remark.num_cases, 'case')}: {remark.consequence})"
    )
    lines = [f"- {head}. {prose(remark.meaning)}"]
    lines += [f"  - {escape(label)}: {prose(message)}" for label, message in remark.examples]
    if remark.num_cases > len(remark.examples):
        lines.append(f"  - and {count(remark.num_cases - len(remark.examples), 'more case')}")
    lines += [f"  - What to do: {prose(remedy)}" for remedy in remark.remedies]
    return "\n".join(lines)


def text(said: Line) -> str:
    return "".join(_span(span) for span in said)


def _span(span: Span) -> str:
    if not span.text.strip():
        return span.text
    lead, body, tail = re.fullmatch(r"(\s*)(.*?)(\s*)", span.text, re.DOTALL).groups()  # type: ignore[union-attr]
    if span.style == "code":
        return f"{lead}{_fenced(body)}{tail}"
    if span.style == "strong":
        return f"{lead}**{escape(body)}**{tail}"
    return lead + prose(body) + tail


def prose(said: str) -> str:
    """Our own text, in which `backticks` mark what to type; the rest is escaped."""
    parts = re.split(r"`([^`]*)`", said)
    return "".join(
        _fenced(part) if position % 2 else escape(part) for position, part in enumerate(parts) if part or position % 2
    )


def escape(said: str) -> str:
    """Text that Markdown shows unchanged on one line: no markup, HTML, link, mention or list."""
    return _NUMBERED.sub(r"\1\\\2", _BULLET.sub(r"\1\\\2", inline(said)))


def inline(said: str) -> str:
    """The same for text that does not begin a line."""
    escaped = _SPECIAL.sub(r"\\\1", inert(said))
    for maker, entity in _LINK_MAKERS:
        escaped = escaped.replace(maker, entity)
    return escaped


def _fenced(said: str) -> str:
    inner = _code(said)
    ticks = "`" * (1 + max((len(run) for run in re.findall(r"`+", inner)), default=0))
    space = " " if inner.startswith("`") or inner.endswith("`") else ""
    return f"{ticks}{space}{inner}{space}{ticks}" if inner else ""


def _code(said: str) -> str:
    return inert(said).replace("|", "\\|") if "|" in said else inert(said)
