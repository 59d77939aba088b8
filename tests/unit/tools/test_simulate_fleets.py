"""Fleets with known slow cards, in a small simulation. The larger one is in docs/method.md."""

from pathlib import Path

import pytest

from gpubench.tools.selfcheck.simulate_fleets import FLEET_HEADER, FLEET_SCENARIOS, FLEETS, fleet_row, run_fleets

PAGE = (Path(__file__).parents[3] / "docs" / "method.md").read_text(encoding="utf-8")
SCENARIOS = {scenario.name: scenario for scenario in FLEET_SCENARIOS}


@pytest.mark.parametrize("num_cards", [8, 64])
def test_a_slow_card_is_named_and_healthy_ones_are_not(num_cards):
    counts = run_fleets(SCENARIOS["one card 2 % slow"], num_cards, fleets=20, seed=1)
    assert counts.slow == 20
    assert counts.found >= 0.9
    assert counts.healthy_named <= 2


def test_a_rack_is_named_card_by_card():
    counts = run_fleets(SCENARIOS["an eighth (a rack) 1 % slow"], 512, fleets=2, seed=1)
    assert counts.slow == 128
    assert counts.met


def test_a_row_has_a_cell_for_every_column():
    counts = run_fleets(SCENARIOS["all healthy"], 8, fleets=2, seed=1)
    assert fleet_row(counts).count("|") == FLEET_HEADER.splitlines()[0].count("|")


def test_the_page_has_every_fleet_and_its_targets_are_met():
    lines = PAGE[PAGE.index(FLEET_HEADER) :].split("\n\n")[0].splitlines()[2:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    scenarios = [(scenario, number) for number in FLEETS for scenario in FLEET_SCENARIOS]
    assert [(row[0], row[1]) for row in found] == [(scenario.name, f"{number:,}") for scenario, number in scenarios]
    for row, (scenario, number) in zip(found, scenarios, strict=True):
        if scenario.judged_from is not None and number >= scenario.judged_from:
            assert float(row[6]) <= 1.0, row
            assert row[3] == "-" or float(row[3].rstrip("%")) >= 95.0, row
