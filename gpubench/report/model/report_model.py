"""A report independent of format: its content and order, never its appearance.

Built once by `report.build`, rendered by each format. Text from outside stays unchanged; each renderer makes it
harmless in its own way. Numbers come as text, with digits that follow their interval, and as values, for sorting,
charts and CSV.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal, NamedTuple

Style = Literal["plain", "strong", "code", "muted", "term"]
"""`term`: a word explained in the report's glossary."""
Tone = Literal["plain", "good", "warning", "bad", "muted"]
"""The colour of a row or line. A mark in the first column or a word in the last one always says the same."""


@dataclass(frozen=True)
class Span:
    text: str
    style: Style = "plain"
    href: str = ""
    """Where the text leads; only pages show it as a link."""


Line = tuple[Span, ...]


def line(*parts: str | Span) -> Line:
    """A line of text from strings and spans; empty strings are left out."""
    spans = (Span(part) if isinstance(part, str) else part for part in parts)
    return tuple(span for span in spans if span.text)


def lines(*texts: str) -> tuple[Line, ...]:
    """Plain lines; empty texts are left out."""
    return tuple(line(text) for text in texts if text)


def strong(text: str) -> Span:
    return Span(text, "strong")


def code(text: str) -> Span:
    """Something to type: a command, an option, a path."""
    return Span(text, "code")


def muted(text: str) -> Span:
    return Span(text, "muted")


def link(text: str, href: str) -> Span:
    return Span(text, href=href)


def plain(text: Line) -> str:
    return "".join(span.text for span in text)


class Cell(NamedTuple):
    """`text` is printed, `spread` after it (`±0.4%`). `value`, `low` and `high` are in the column's unit. `href`: where
    the text leads on a page.
    """

    text: str
    spread: str = ""
    value: float | int | str | bool | None = None
    low: float | None = None
    high: float | None = None
    href: str = ""

    @property
    def full(self) -> str:
        return f"{self.text} {self.spread}" if self.spread else self.text


EMPTY = Cell("")


@dataclass(frozen=True)
class Column:
    """`priority` 0 always stays; if there is no room, the column with the highest is dropped first.

    `key` is stable (a setting or a metric's name), `unit` the unit of the cells' `value`. `flexible` text (messages,
    notes) may be wrapped; nothing is ever cut. `form` is the form of the table that has the column. `cell` makes the
    cell from a row's item: text and whole numbers become cells, None an empty one.
    """

    key: str
    title: str
    align: Literal["left", "right"] = "right"
    priority: int = 0
    unit: str = ""
    flexible: bool = False
    form: Literal["both", "wide", "narrow"] = "both"
    cell: Callable[[Any], Cell | str | int | None] | None = field(default=None, compare=False, repr=False)

    def cells_of(self, items: Sequence[Any]) -> list[Cell]:
        found = [None] * len(items) if self.cell is None else map(self.cell, items)
        return [each if isinstance(each, Cell) else _as_cell(each) for each in found]


@lru_cache(maxsize=2**15, typed=True)
def _as_cell(found: str | int | None) -> Cell:
    """Equal cells are one object: tables of thousands of cases repeat their numbers, marks and notes."""
    return EMPTY if found is None else Cell(found) if isinstance(found, str) else Cell(str(found), value=found)


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[Cell, ...]
    tone: Tone = "plain"
    case_index: int | None = None


@dataclass(frozen=True)
class Table:
    """`notes` go below: what the columns mean, and why values are absent. `narrow` has the same rows in fewer columns,
    for when not even the columns that always stay would fit.
    """

    key: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[Line, ...] = ()
    fewer: Callable[[], "Table"] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def narrow(self) -> "Table | None":
        return None if self.fewer is None else self.fewer()

    @classmethod
    def of(
        cls,
        key: str,
        columns: Sequence[Column],
        items: Iterable[Any],
        *,
        title: str = "",
        notes: tuple[Line, ...] = (),
        tone: Callable[[Any], Tone] | None = None,
        case_index: Callable[[Any], int | None] | None = None,
    ) -> "Table":
        """A table with a row per item, and cells made by the columns."""
        everything = tuple(items)
        cells = [None if column.form == "narrow" else column.cells_of(everything) for column in columns]

        def made(kept: Sequence[int], fewer: Callable[[], "Table"] | None = None) -> "Table":
            found = zip(*(cells[at] or columns[at].cells_of(everything) for at in kept), strict=True)
            rows = tuple(
                Row(row, tone(each) if tone else "plain", case_index(each) if case_index else None)
                for each, row in zip(everything, found, strict=True)
            )
            return cls(key, tuple(columns[at] for at in kept), rows, title, notes, fewer)

        wide, few = ([at for at, each in enumerate(columns) if each.form != other] for other in ("narrow", "wide"))
        return made(wide, None if wide == few else partial(made, few))

    def without_empty_columns(self) -> "Table":
        """The table without empty columns."""
        kept = [at for at in range(len(self.columns)) if any(row.cells[at].full for row in self.rows)]
        rows = tuple(replace(row, cells=tuple(row.cells[at] for at in kept)) for row in self.rows)
        get = self.fewer
        fewer = None if get is None else lambda: get().without_empty_columns()
        return replace(self, columns=tuple(self.columns[at] for at in kept), rows=rows, fewer=fewer)


@dataclass(frozen=True)
class Fact:
    """A name and its value: one row of a list of properties."""

    name: str
    text: Line


@dataclass(frozen=True)
class Remark:
    """Every occurrence of one finding code: what it means for the numbers, where it occurred, what to do."""

    mark: str
    code: str
    name: str
    severity: Literal["info", "warning", "error"]
    consequence: str
    meaning: str
    examples: tuple[tuple[str, str], ...]
    """(label of the case, message)"""
    remedies: tuple[str, ...]
    num_cases: int
    explains: float = 0.0
    """Share of the intervals of speed that this code explains, 0 to 1, averaged over the cases."""

    @property
    def tone(self) -> Tone:
        return {"error": "bad", "warning": "warning", "info": "muted"}[self.severity]  # type: ignore[return-value]


ChartForm = Literal[
    "lines", "scatter", "roofline", "forest", "waterfall", "heat", "dots", "strip", "spread", "timeline", "history"
]
Datum = float | int | str | bool | None


@dataclass(frozen=True)
class Chart:
    """A chart before drawing: its data, what it shows, and how to read it.

    `title` states the finding, `alt` describes it for those who cannot see it. `columns` and `rows` are all its data,
    in the units named in the columns; they are also its CSV. `options` holds what else drawing `form` needs (axis
    titles, limits, the order of series): see `report.drawing.draw`.
    """

    key: str
    form: ChartForm
    title: str
    reading: str
    alt: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Datum, ...], ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """Charts come after `lines` and before the tables whose figures they show."""

    key: str
    heading: str
    lines: tuple[Line, ...] = ()
    tables: tuple[Table, ...] = ()
    facts: tuple[Fact, ...] = ()
    remarks: tuple[Remark, ...] = ()
    charts: tuple[Chart, ...] = ()
    short: str = ""
    """The short heading for the navigation bar; empty for the heading itself."""
    folded: bool = False
    """A detail: if possible, a page shows only heading and gist until it is opened."""

    gist: str = ""
    """Its content in a few words, shown when folded; empty to use its first chart or sentence."""

    @property
    def in_short(self) -> str:
        """The gist, or else the title of the first chart, the first sentence, or what a table holds."""
        if self.gist or self.charts:
            return self.gist or self.charts[0].title
        said = [plain(each) for each in (*self.lines, *(fact.text for fact in self.facts))]
        titles = [column.title for table in self.tables for column in table.columns if column.align == "right"]
        return said[0].partition(". ")[0].removesuffix(".") if said else ", ".join(dict.fromkeys(titles)).lstrip("#, ")

    @property
    def empty(self) -> bool:
        shown = self.lines or self.facts or self.remarks or self.charts
        return not (shown or any(table.rows for table in self.tables))


@dataclass(frozen=True)
class Answer:
    """The best setting of one contest in figures: (name, text), the most wanted first.

    `said` is the sentence about it. `why_not` says why the fastest case is not called best (empty if it is), `level`
    which others may be as fast.
    """

    subject: str
    precision: str
    setting: str
    figures: tuple[tuple[str, str], ...]
    case_index: int
    said: Line = ()
    why_not: str = ""
    level: str = ""


@dataclass(frozen=True)
class CasePage:
    """One case in full."""

    index: int
    label: str
    sections: tuple[Section, ...]
    text: str = ""
    """Traceback or log of a failed case, unchanged; empty if there is none."""


@dataclass(frozen=True)
class ReportModel:
    """`headline` answers the suite's question in words, `answers` in figures; `sections` follow in reading order."""

    title: str
    subtitle: Line
    run: str
    headline: tuple[Line, ...]
    sections: tuple[Section, ...]
    pages: tuple[CasePage, ...] = ()
    answers: tuple[Answer, ...] = ()
    first: tuple[Fact, ...] = ()
    """The first questions, each answered in a sentence; a document shows them instead of the first headline."""
    counts: str = ""
    """`12 cases: 10 ok, 1 oom, 1 skipped`."""
    advice: tuple[Line, ...] = ()
    """What to switch on, one line per mode and device, or one line on why there is no advice."""
    state: tuple[Line, ...] = ()
    """What may have disturbed the figures; empty for a quiet machine."""
    kind: str = "report"
    """What the document is called above its title."""

    def section(self, key: str) -> Section | None:
        return next((section for section in self.sections if section.key == key), None)

    @property
    def body(self) -> tuple[Section, ...]:
        """The sections of a document, without one whose only sentence is in its `first` lines."""
        said = {plain(fact.text) for fact in self.first}
        return tuple(
            each
            for each in self.sections
            if each.tables or {plain(one) for one in each.lines} - said or each.facts or each.charts or each.remarks
        )

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Every chart, in reading order."""
        return tuple(chart for section in self.sections for chart in section.charts)
