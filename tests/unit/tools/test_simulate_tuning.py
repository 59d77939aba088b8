"""Searches on grids with known answers, in a small simulation. The larger one is in docs/method.md."""

import re
from pathlib import Path

import numpy as np
import pytest

from gpubench.tools.selfcheck.simulate_tuning import (
    TUNE_SCENARIOS,
    count_searches,
    search_grid,
    simulated_grid,
)

PAGE = (Path(__file__).parents[3] / "docs" / "method.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_choice_is_near_the_best_at_a_small_share_of_the_cost(kind):
    rng = np.random.default_rng(1)
    found = [search_grid(simulated_grid(kind, number, 7), TUNE_SCENARIOS[0], rng) for number in range(6)]
    counts = count_searches(kind, found)
    assert counts.within >= 5 / 6
    assert counts.most_cost <= 0.15


def test_no_search_of_the_page_took_more_than_its_share_and_where_the_target_is_met_is_said():
    table = PAGE[PAGE.index("| grid | searches |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    assert len(rows) == 2 * len(TUNE_SCENARIOS)
    assert sum(int(row[1]) for row in rows) >= 200
    shares = [[float(re.sub("%", "", cell)) for cell in row[2:]] for row in rows]
    assert all(share[3] <= 15.0 for share in shares)
    below = [row[0] for row, share in zip(rows, shares, strict=True) if share[0] < 95.0]
    assert all(f"*{name}*" in PAGE for name in below)
