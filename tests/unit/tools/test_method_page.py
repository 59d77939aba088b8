"""The table that docs/method.md keeps is one that the simulation could have printed, and it meets the targets."""

import re
from pathlib import Path

import pytest

from gpubench.tools.selfcheck.other_tool_rules import RULES
from gpubench.tools.selfcheck.simulate_verdicts import TARGET_NOTES
from gpubench.tools.selfcheck.simulated_steps import SCENARIOS

PAGE = (Path(__file__).parents[3] / "docs" / "method.md").read_text(encoding="utf-8")
COMMAND = re.search(r"selfcheck statistics --trials (\d+) --suites (\d+) --seed (\d+)", PAGE)


def rows(first_header: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    lines = PAGE[PAGE.index(f"| {first_header}") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_seed_and_counts_are_those_of_the_command():
    trials, suites, seed = (int(number) for number in COMMAND.groups())
    assert f"{trials} comparisons per scenario and effect, {suites} suites, seed {seed}." in PAGE
    assert f"{2 * len(SCENARIOS) * trials:,}".replace(",", " ") + " comparisons under each rule" in PAGE
    assert f"{50 * suites:,}".replace(",", " ") + " cases in suites" in PAGE


def test_every_scenario_and_every_rule_is_there():
    assert [row[:2] for row in rows("scenario | effect")] == [
        [scenario.name, effect] for scenario in SCENARIOS for effect in ("none", "+3%")
    ]
    assert [row[0] for row in rows("scenario | gpubench")] == [scenario.name for scenario in SCENARIOS]
    assert f"| scenario | gpubench | {' | '.join(RULES)} |" in PAGE


@pytest.mark.parametrize(
    "scenario", [scenario for scenario in SCENARIOS if scenario.judged], ids=lambda scenario: scenario.name
)
def test_the_targets_are_met(scenario):
    none, changed = ([float(cell) for cell in row[2:]] for row in rows("scenario | effect") if row[0] == scenario.name)
    assert none[0] <= 1.0
    assert changed[0] >= 95.0
    assert changed[2] <= 5.0
    assert 93.0 <= none[4] <= 97.0
    assert 93.0 <= changed[4] <= 97.0


def test_the_page_says_that_they_are():
    assert TARGET_NOTES in PAGE
    assert float(rows("50 unchanged cases")[0][1]) <= 5.0
