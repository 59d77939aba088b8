"""The report as one HTML file that needs no network.

Text from outside is made inert, then escaped, in one place for every template; a content security policy allows only
our own script and style, by their digests, so that a browser runs nothing else.
"""

import base64
import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gpubench.core.version import __version__
from gpubench.report.drawing import palette
from gpubench.report.glossary import term_of
from gpubench.report.model.inert_text import inert, inert_lines
from gpubench.report.model.report_model import Cell, Column, Line, ReportModel, Span, Table, plain
from gpubench.report.render.csv_text import chart_csv

Drawings = Mapping[str, str]
"""Charts as SVG by key, drawn with names for colours."""

CASES = "cases"
_MANY = 400
"""With more cases than this, a section is laid out only when it comes into view, because a thousand rows take long."""

_MOST_COLUMNS = 12
"""Most columns in a table of a single case."""

_TAGS = {"strong": "strong", "code": "code", "muted": "small"}


def render_html(model: ReportModel, drawings: Drawings) -> str:
    """The whole report. Charts without a drawing are left out; single cases in full follow in `<noscript>`, which a
    browser that runs scripts does not build until a row is opened.
    """
    style, script = _style(), _asset("report.js")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            model=model,
            drawings={key: Markup(svg) for key, svg in drawings.items()},  # noqa: S704 - made by report.drawing
            policy=policy,
            style=Markup(style),  # noqa: S704 - ours
            script=Markup(script),  # noqa: S704 - ours
            in_full={page.index for page in model.pages},
            version=__version__,
        )
    )
    return page


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gpubench.report"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "line": line_html,
        "prose": prose_html,
        "block": block_html,
        "csv": chart_csv,
        "plain": plain,
        "intervals": intervals,
        "classes": _classes,
        "rows": rows_html,
        "term_id": term_id,
    }
    environment.globals |= {"precisions": tuple(palette.PRECISIONS), "many": _MANY}
    return environment


def _harmless(value: Any) -> Any:
    """Applied to every template expression before it is escaped. Our own markup stays unchanged."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else inert(value) if isinstance(value, str) else value


def rows_html(table: Table, drawn: Sequence["Drawn | None"], in_full: Collection[int]) -> Markup:
    """The rows of a table, with `drawn` beside their `speed`; rows of cases `in_full` open them. Not a template, which
    for ten thousand rows would take longer than the rest of the report.
    """
    head = 1 if len(table.columns) > 1 and table.columns[0].key == "mark" else 0
    columns = [
        (f'<th scope="row"{_classes(column)}>' if at == head else f"<td{_classes(column)}", column.key)
        for at, column in enumerate(table.columns)
    ]
    rows = []
    for number, row in enumerate(table.rows):
        tone = "" if row.tone == "plain" else f' class="t-{row.tone}"'
        case = "" if row.case_index is None else f' data-case="{row.case_index}"'
        anchor = f' id="case-{row.case_index}"' if case and table.key == CASES else ""
        parts = [f"<tr{tone}{case}{anchor}>\n"]
        for at, (cell, (start, key)) in enumerate(zip(row.cells, columns, strict=True)):
            text = _cell_html(cell, dot=key == "precision")
            if at == head:
                opened = f'<a href="#full-{row.case_index}">{text}</a>' if row.case_index in in_full else text
                parts.append(f"{start}{opened}</th>\n")
            else:
                sorted_by = f' data-v="{cell.value}"' if _is_hidden_number(cell) else ""
                parts.append(f"{start}{sorted_by}>{text}</td>\n")
            if key == "speed" and drawn:
                here = drawn[number]
                parts.append(f'<td class="strips">{"" if here is None else _strip(here)}</td>')
        rows.append("".join((*parts, "</tr>\n")))
    return Markup("".join(rows))  # noqa: S704 - every text in it is escaped


def _cell_html(cell: Cell, *, dot: bool) -> str:
    text = str(escape(inert(cell.text)))
    shown = f'<i class="dot c-{text}" aria-hidden="true"></i>' if dot and cell.text in palette.PRECISIONS else ""
    text = _link(cell.href, Markup(text)) if cell.href else text  # noqa: S704 - escaped above
    return f'{shown}{text} <span class="pm">{escape(inert(cell.spread))}</span>' if cell.spread else shown + text


def _strip(drawn: "Drawn") -> str:
    span = "" if drawn.low is None else f'<line class="span" x1="{drawn.low}" x2="{drawn.high}" y1="7" y2="7"/>'
    return (
        f'<svg class="strip {drawn.tone}" viewBox="0 0 120 14" width="120" height="14" aria-hidden="true">'
        f'<line class="one" x1="{drawn.one}" x2="{drawn.one}" y1="0" y2="14"/>{span}'
        f'<circle cx="{drawn.at}" cy="7" r="4"/></svg>\n'
    )


def _classes(column: Column) -> Markup:
    """CSS classes: numbers to the right, wrapping text, the mark."""
    kinds = {"r": column.align == "right", "f": column.flexible, "m": column.key == "mark"}
    found = " ".join(name for name, fits in kinds.items() if fits)
    return Markup(f' class="{found}"' if found else "")  # noqa: S704 - ours


_SHOWS_ITS_NUMBER = re.compile(r">?[-+]?\d[\d\u202f]*(\.\d+)?(e[-+]\d+)?[x%]?( ±.*)?$")


def _is_hidden_number(cell: Cell) -> bool:
    """Whether the text does not show the number that sorts the column: a duration, a ratio in words."""
    known = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    return known and _SHOWS_ITS_NUMBER.match(cell.text) is None


def line_html(said: Line) -> Markup:
    return Markup("").join(_span(span) for span in said)


def _span(span: Span) -> Markup:
    if span.href:
        return _link(span.href, escape(inert(span.text)))
    if span.style == "term":
        return Markup('<a class="term" href="#{}">{}</a>').format(term_id(term_of(span.text)), inert(span.text))
    tag = _TAGS.get(span.style)
    if tag is None:
        return prose_html(span.text)
    return Markup("<{0}>{1}</{0}>").format(tag, inert(span.text))


def _link(href: str, text: Markup) -> Markup:
    return Markup('<a href="{}">{}</a>').format(href, text)


def term_id(term: str) -> str:
    """The anchor of a term in the glossary."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower())


def prose_html(said: str) -> Markup:
    """Our own text, in which `backticks` mark what to type."""
    parts = re.split(r"`([^`]*)`", said)
    return Markup("").join(
        Markup("<code>{}</code>").format(inert(part)) if position % 2 else escape(inert(part))
        for position, part in enumerate(parts)
    )


def block_html(text: str) -> Markup:
    """Text of several lines, for a <pre>."""
    return escape(inert_lines(text))


@lru_cache(maxsize=4)
def _asset(name: str) -> str:
    return (files("gpubench.report") / "templates" / name).read_text(encoding="utf-8")


def _style() -> str:
    """The style sheet with the colours of the charts, for light and for dark."""
    light, dark = (
        "".join(f"{name}:{colour};" for name, colour in palette.tokens(dark=mode).items()) for mode in (False, True)
    )
    dots = "".join(f".c-{word}{{background:{palette.precision(word)}}}" for word in palette.PRECISIONS)
    sides = "".join(
        f".r{at} tr>:nth-child({at}){{text-align:right}}"
        f".f{at} td:nth-child({at}){{white-space:normal;min-width:10rem;overflow-wrap:anywhere}}"
        for at in range(1, _MOST_COLUMNS + 1)
    )
    return (
        f":root{{{light}}}\n@media screen and "
        f"(prefers-color-scheme:dark){{:root{{{dark}}}}}\n{dots}{sides}\n{_asset('report.css')}"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


WIDTH = 120
_PAD = 6


@dataclass(frozen=True)
class Drawn:
    """Positions in pixels on a strip of width `WIDTH`. `tone` is good, bad or muted."""

    at: float
    low: float | None
    high: float | None
    one: float
    tone: str


def intervals(table: Table, key: str) -> list[Drawn | None]:
    """The ratio in column `key` of each row, on one log axis; empty if the table has no such column."""
    position = next((at for at, column in enumerate(table.columns) if column.key == key), None)
    if position is None:
        return []
    cells = [row.cells[position] for row in table.rows]
    ends = [
        end
        for cell in cells
        for end in (cell.value, cell.low, cell.high)
        if isinstance(end, int | float) and _positive(end)
    ]
    if not ends:
        return []
    low, high = math.log(min(0.95, *ends)), math.log(max(1.05, *ends))

    def place(value: object) -> float:
        assert isinstance(value, int | float)
        return round(_PAD + (math.log(value) - low) / (high - low) * (WIDTH - 2 * _PAD), 1)

    drawn: list[Drawn | None] = []
    for cell in cells:
        if not _positive(cell.value):
            drawn.append(None)
            continue
        known = _positive(cell.low) and _positive(cell.high)
        tone = "good" if known and (cell.low or 0) > 1 else "bad" if known and (cell.high or 0) < 1 else "muted"
        drawn.append(
            Drawn(
                place(cell.value),
                place(cell.low) if known else None,
                place(cell.high) if known else None,
                place(1.0),
                tone,
            )
        )
    return drawn


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
