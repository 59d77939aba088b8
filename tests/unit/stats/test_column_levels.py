"""Levels of columns when rows have levels too."""

import math
import random

import pytest

from gpubench.stats.estimators import column_levels


def _differences(table):
    first, *others = column_levels(table)
    return [other - first for other in others]


def test_what_a_row_does_to_all_of_its_cells_moves_no_level():
    draw = random.Random(1)
    levels = (0.0, 0.03, 1.4)
    rows = [draw.gauss(0, 0.5) for _ in range(31)]
    table = [[row + level for level in levels] for row in rows]
    assert _differences(table) == pytest.approx([0.03, 1.4])


def test_a_fifth_of_spoilt_cells_moves_levels_by_less_than_the_noise():
    draw = random.Random(2)
    table = [[draw.gauss(level, 0.01) for level in (0.0, 0.05, 0.05, 0.0)] for _ in range(200)]
    for row in table[::5]:
        row[draw.randrange(4)] += math.log(10)
    assert _differences(table) == pytest.approx([0.05, 0.05, 0.0], abs=0.005)


def test_an_empty_table_has_no_levels():
    with pytest.raises(ValueError, match="at least one row"):
        column_levels([])
