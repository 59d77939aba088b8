"""Tables as lines of text: columns that do not fit are dropped whole, and named. No number is ever cut."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from gpubench.report.model.inert_text import cell_width, inert
from gpubench.report.model.report_model import Cell, Row, Table

GAP = "  "
_LEAST_FLEXIBLE = 24


@dataclass(frozen=True)
class Fitted:
    """`columns` are the indices shown, with their `widths`; `left_out` are the titles of the rest in table order, if
    any.
    """

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    left_out: tuple[str, ...]


def fit(table: Table, width: int, measure: Callable[[str], int] = cell_width) -> Fitted:
    """The columns of `table` that fit into `width`. Only columns of a priority above 0 are dropped, the highest first,
    the last of equals first; those that fit in the end come back, numbers with their unit. A flexible column takes what
    is left, at least 24 characters, and is wrapped between words; if others follow, it is never narrower than its
    longest word, which would push them out of line. If that is still too wide, the widest texts are wrapped as well,
    numbers last, down to their longest word; `width` 0 gives the least width without that.
    """
    return _fit(table, width, _Sizes(table, measure), measure)


def fit_form(table: Table, width: int, measure: Callable[[str], int] = cell_width) -> tuple[Table, Fitted]:
    """The same, with the narrow form of `table` if not even the columns that always stay would fit."""
    sizes_of = _Sizes(table, measure)
    kept = [at for at, column in enumerate(table.columns) if column.priority == 0]
    if table.fewer is not None and sum(sizes_of.least(kept)) + len(GAP) * (len(kept) - 1) > width:
        narrow = table.narrow or table
        return narrow, fit(narrow, width, measure)
    return table, _fit(table, width, sizes_of, measure)


def _fit(table: Table, width: int, sizes_of: "_Sizes", measure: Callable[[str], int]) -> Fitted:
    shown = list(range(len(table.columns)))
    wide = sizes_of.wide

    def fits(columns: Sequence[int]) -> bool:
        return sum(sizes_of.least(columns)) + len(GAP) * (len(columns) - 1) <= width

    ranked = sorted(shown, key=lambda index: (table.columns[index].priority, index))
    gone: list[int] = []
    while not fits(shown) and ranked and table.columns[ranked[-1]].priority > 0:
        gone.insert(0, ranked.pop())
        shown.remove(gone[0])
    for index in [at for at in shown if table.columns[at].priority and not table.columns[at].title]:
        if not any(index in _units_of(table, at) for at in shown):  # of no number that is left
            shown.remove(index)
            gone.insert(0, index)
    for index in gone:  # a dropped wide column may leave room: what fits beside the rest comes back
        more = {index, *_units_of(table, index)} - {*shown} if table.columns[index].title else ()
        if more and fits(sorted([*shown, *more])):
            shown = sorted([*shown, *more])
    left_out = (column.title for index, column in enumerate(table.columns) if index not in shown)
    sizes = sizes_of.least(shown)
    over = sum(sizes) + len(GAP) * (len(shown) - 1) - width

    def first(at: tuple[int, int]) -> tuple[bool, bool, int]:
        column = table.columns[at[1]]
        return not column.flexible, column.align != "left", -sizes[at[0]]

    for position, index in sorted(enumerate(shown), key=first) if over > 0 and width > 0 else ():
        narrowest = max(sizes_of.longest_word(index), measure(inert(table.columns[index].title)))
        narrower = max(0, min(over, sizes[position] - narrowest))
        sizes[position] -= narrower
        over -= narrower
    widths = _widths(shown, wide, sizes, width)
    return Fitted(tuple(shown), widths, tuple(title for title in left_out if title))


def _units_of(table: Table, index: int) -> list[int]:
    """Number columns that are shown only with `index`, the column without a title that holds their unit."""
    numbers = takewhile(lambda at: table.columns[at].align == "right", range(index, len(table.columns)))
    after = max(numbers, default=len(table.columns)) + 1
    return [after] if after < len(table.columns) and not table.columns[after].title else []


class _Sizes:
    """The widths of a table's columns; each text is measured only once."""

    def __init__(self, table: Table, measure: Callable[[str], int]) -> None:
        self._columns, self._measure = table.columns, measure
        cells = zip(*(row.cells for row in table.rows), strict=True) if table.rows else [()] * len(table.columns)
        self._texts = [{inert(cell.full) for cell in column} for column in cells]
        titles = (inert(column.title) for column in table.columns)
        self.wide = [max(map(measure, {title, *texts})) for title, texts in zip(titles, self._texts, strict=True)]
        self._words: dict[int, int] = {}

    def longest_word(self, index: int) -> int:
        if index not in self._words:
            words = {word for text in self._texts[index] for word in _words(text)}
            self._words[index] = max(map(self._measure, words), default=0)
        return self._words[index]

    def least(self, shown: Sequence[int]) -> list[int]:
        """The least width of each shown column."""
        sizes = []
        for index in shown:
            size = self.wide[index]
            if self._columns[index].flexible:
                word = 0 if index == shown[-1] else self.longest_word(index)
                size = min(size, max(_LEAST_FLEXIBLE, word))
            sizes.append(size)
        return sizes


def _words(text: str) -> list[str]:
    """Words between which a line may be broken; a number and its `±0.4%` stay together."""
    return re.split(r" (?!±)", text)


def _widths(shown: Sequence[int], wide: Sequence[int], least: Sequence[int], width: int) -> tuple[int, ...]:
    """Widths; what is left goes to columns narrower than their text, from the left."""
    spare = max(width - sum(least) - len(GAP) * (len(shown) - 1), 0)
    sizes = []
    for index, size in zip(shown, least, strict=True):
        more = min(wide[index] - size, spare)
        spare -= more
        sizes.append(size + more)
    return tuple(sizes)


def header(table: Table, fitted: Fitted, measure: Callable[[str], int] = cell_width) -> str:
    titles = [Cell(table.columns[index].title) for index in fitted.columns]
    return _join(table, fitted, [[title.full] for title in titles], measure)[0]


def row_lines(table: Table, row: Row, fitted: Fitted, measure: Callable[[str], int] = cell_width) -> list[str]:
    """The row as text: one line, or more where a cell is wrapped."""
    texts = [inert(row.cells[index].full) for index in fitted.columns]
    spaces = [size - measure(text) for text, size in zip(texts, fitted.widths, strict=True)]
    if min(spaces, default=0) < 0:
        cells = [_wrap(text, size, measure) for text, size in zip(texts, fitted.widths, strict=True)]
        return _join(table, fitted, cells, measure)
    parts = [
        " " * space + text if table.columns[index].align == "right" else text + " " * space
        for index, text, space in zip(fitted.columns, texts, spaces, strict=True)
    ]
    return [GAP.join(parts).rstrip()]


def _join(table: Table, fitted: Fitted, cells: list[list[str]], measure: Callable[[str], int]) -> list[str]:
    height = max((len(lines) for lines in cells), default=1)
    joined = []
    for number in range(height):
        parts = [
            _pad(lines[number] if number < len(lines) else "", size, table.columns[index].align == "right", measure)
            for index, size, lines in zip(fitted.columns, fitted.widths, cells, strict=True)
        ]
        joined.append(GAP.join(parts).rstrip())
    return joined


def _pad(text: str, size: int, right: bool, measure: Callable[[str], int]) -> str:
    space = " " * (size - measure(text))
    return space + text if right else text + space


def _wrap(text: str, size: int, measure: Callable[[str], int]) -> list[str]:
    """Words on lines of at most `size`; a longer word gets its own line."""
    if measure(text) <= size:
        return [text]
    lines: list[str] = []
    for word in _words(text):
        if lines and measure(lines[-1]) + 1 + measure(word) <= size:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
