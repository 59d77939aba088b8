"""Levels of a table's columns (arms), apart from the levels of its rows (turns)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_SWEEPS = 50
_SETTLED = 1e-9


def column_levels(table: "ArrayLike") -> list[float]:
    """Levels of the columns by median polish (Tukey 1977): row levels are removed, and medians resist outliers.

    `table` has a row per turn and a column per arm, in logs, all of them finite. Neither a slow row nor a few slow
    cells move a level. Levels are those of the median row; only their differences matter. ValueError for an empty
    table.
    """
    import numpy as np

    cells = np.asarray(table, dtype=float)
    if cells.ndim != 2 or 0 in cells.shape:
        raise ValueError("levels need at least one row and one column")
    columns = np.median(cells, axis=0)
    for _ in range(_SWEEPS):
        rows = np.median(cells - columns, axis=1)
        polished = np.median(cells - rows[:, None], axis=0)
        moved = float(np.abs(polished - columns).max())
        columns = polished
        if moved < _SETTLED:
            break
    return [float(level) for level in columns + np.median(rows)]
