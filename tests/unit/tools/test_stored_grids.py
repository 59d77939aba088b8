"""Searches of grids that were measured (reports/grids). The larger table is in docs/method.md."""

import re
from pathlib import Path

import numpy as np
import pytest

from gpubench.tools.selfcheck.simulate_tuning import count_searches
from gpubench.tools.selfcheck.stored_grids import _levels, read_grid

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("| measured grid |") :].split("\n\n")[0].splitlines()[2:]
ROWS = {cells[0]: cells[1:] for row in TABLE if (cells := [cell.strip() for cell in row.strip("|").split("|")])}


@pytest.mark.parametrize("name", ROWS)
def test_no_search_of_a_measured_grid_takes_more_than_its_share(name):
    stored = read_grid(ROOT / "reports" / "grids" / f"{name}.yaml")
    assert len(stored.grid.speeds) >= 90
    assert len([point for point, each in stored.scenario.launches.items() if len(each) >= 2]) >= 45
    assert count_searches(name, stored.searches(2, seed=1)).most_cost <= 0.15


def test_levels_of_processes_that_share_a_point_are_found():
    rng = np.random.default_rng(1)
    truth = {0: 0.0, 1: 0.5, 2: -0.3, 3: 0.2}
    processes = [
        {point: truth[point] + base + float(rng.normal(0, 0.001)) for point in points}
        for base in (3.0, 4.0, 5.0)
        for points in ((0, 1, 2), (0, 3))
    ]
    levels, off = _levels(processes)
    assert {point: round(levels[point] - levels[0], 2) for point in truth} == truth
    assert max(abs(each) for several in off.values() for each in several) < 0.01


def test_a_grid_that_lacks_a_setting_is_refused(tmp_path):
    (tmp_path / "part.yaml").write_text(
        "schema: 1\nname: part\ndefaults: {device: cpu}\nmatrix: {batch_size: [1, 2]}\n"
    )
    (tmp_path / "part.csv").write_text("case,kind,process,log_speed\n1,launch,1.1,3.0\n")
    with pytest.raises(ValueError, match=r"part\.csv: no launch of cases \[2\]"):
        read_grid(tmp_path / "part.yaml")


@pytest.mark.parametrize("name", ROWS)
def test_the_page_has_two_hundred_searches_of_a_grid_and_says_where_they_miss_the_target(name):
    searches, within, _, _, most, _ = ROWS[name]
    assert int(searches) >= 200
    assert float(re.sub("%", "", most)) <= 15.0
    assert float(re.sub("%", "", within)) >= 95.0 or f"*{name}*" in PAGE
