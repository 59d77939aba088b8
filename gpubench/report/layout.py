"""Tables as lines of text: columns that do not fit go whole, and are named. No number is ever cut."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpubench.report.model import Cell, Row, Table
from gpubench.report.text import cell_width, inert

GAP = "  "
_LEAST_FLEXIBLE = 24


@dataclass(frozen=True)
class Fitted:
    """`columns` are the indices that are shown, `widths` theirs, `left_out` the titles of the rest in table order."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    left_out: tuple[str, ...]


def fit(table: Table, width: int, measure: Callable[[str], int] = cell_width) -> Fitted:
    """The columns of `table` that fit into `width`. Only columns of a priority above 0 go; the highest goes first, and
    among equals the last. A flexible column takes what is left, at least 24 characters, and is wrapped.
    """
    shown = list(range(len(table.columns)))
    wide = [_natural(table, index, measure) for index in shown]
    while _least(table, shown, wide) > width:
        free = [index for index in shown if table.columns[index].priority > 0]
        if not free:
            break
        shown.remove(max(free, key=lambda index: (table.columns[index].priority, index)))
    left_out = tuple(column.title for index, column in enumerate(table.columns) if index not in shown)
    return Fitted(tuple(shown), _widths(table, shown, wide, width), left_out)


def _natural(table: Table, index: int, measure: Callable[[str], int]) -> int:
    cells = (measure(inert(row.cells[index].full)) for row in table.rows)
    return max(measure(inert(table.columns[index].title)), max(cells, default=0))


def _least(table: Table, shown: Sequence[int], wide: Sequence[int]) -> int:
    sizes = (min(wide[index], _LEAST_FLEXIBLE) if table.columns[index].flexible else wide[index] for index in shown)
    return sum(sizes) + len(GAP) * (len(shown) - 1)


def _widths(table: Table, shown: Sequence[int], wide: Sequence[int], width: int) -> tuple[int, ...]:
    spare = width - _least(table, shown, wide)
    sizes = []
    for index in shown:
        size = wide[index]
        if table.columns[index].flexible and size > _LEAST_FLEXIBLE:
            size = min(size, _LEAST_FLEXIBLE + max(spare, 0))
            spare -= size - _LEAST_FLEXIBLE
        sizes.append(size)
    return tuple(sizes)


def header(table: Table, fitted: Fitted, measure: Callable[[str], int] = cell_width) -> str:
    titles = [Cell(table.columns[index].title) for index in fitted.columns]
    return _join(table, fitted, [[title.full] for title in titles], measure)[0]


def row_lines(table: Table, row: Row, fitted: Fitted, measure: Callable[[str], int] = cell_width) -> list[str]:
    """The row as text: one line, or more where a flexible cell is wrapped."""
    cells = [
        _wrap(inert(row.cells[index].full), size, measure) if table.columns[index].flexible else [inert(row.cells[index].full)]
        for index, size in zip(fitted.columns, fitted.widths, strict=True)
    ]  # fmt: skip
    return _join(table, fitted, cells, measure)


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
    """Words on lines of at most `size`; a word that is longer stands alone on its line."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and measure(lines[-1]) + 1 + measure(word) <= size:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
