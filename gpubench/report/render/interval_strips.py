"""Intervals drawn inside a table: one small picture per row, all on the axis of their column."""

import math
from dataclasses import dataclass

from gpubench.report.model.report_model import Table

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
