"""The report as one HTML file that asks nothing of the network.

Text from outside is made inert, then escaped, in one place for every template; the only script and the only style are
our own, named by their digests in a content security policy, so that a browser runs nothing else.
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gpubench.core.version import __version__
from gpubench.report.drawing import palette
from gpubench.report.model.inert_text import inert, inert_lines
from gpubench.report.model.report_model import Cell, Line, ReportModel, Span, Table, plain
from gpubench.report.render.csv_text import chart_csv

Drawings = Mapping[str, str]
"""Charts as SVG by their keys, drawn with names for colours."""

CASES = "cases"
_MANY = 400
"""Cases from which on a section is laid out only when it comes into view: a thousand rows would keep a reader waiting.
"""

_MOST_COLUMNS = 12
"""The most columns a table of a single case has."""

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
            drawings={key: Markup(svg) for key, svg in drawings.items()},  # noqa: S704 - made by report.charts.svg
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
    }
    environment.tests["hidden_number"] = _is_hidden_number
    environment.globals |= {"precisions": tuple(palette.PRECISIONS), "cases_key": CASES, "many": _MANY}
    return environment


def _harmless(value: Any) -> Any:
    """What every expression of a template goes through before it is escaped. Our own markup passes as it is."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else inert(value) if isinstance(value, str) else value


def _is_hidden_number(cell: Cell) -> bool:
    """Whether the text does not show the number by which a column is sorted: a duration, a ratio in words."""
    known = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    return known and re.match(r">?[-+]?\d[\d\u202f]*(\.\d+)?(e[-+]\d+)?[x%]?( ±.*)?$", cell.text) is None


def line_html(said: Line) -> Markup:
    return Markup("").join(_span(span) for span in said)


def _span(span: Span) -> Markup:
    tag = _TAGS.get(span.style)
    if tag is None:
        return prose_html(span.text)
    return Markup("<{0}>{1}</{0}>").format(tag, inert(span.text))


def prose_html(said: str) -> Markup:
    """Text of our own, in which `backticks` mark what a person types."""
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
    """Places in pixels of a strip that is `WIDTH` wide. `tone` is what the reading is: good, bad or muted."""

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
