"""Contests and numbers of launches with known answers, in a small simulation. The larger one is in docs/method.md."""

import pytest

from gpubench.tools.selfcheck.simulate_contests import CONTEST_SCENARIOS, launch_coverage, run_contests

SCENARIOS = {scenario.name: scenario for scenario in CONTEST_SCENARIOS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["usual", "processes vary 1 %"])
def test_effects_of_five_per_cent_are_decided_and_equal_cases_are_called_different_at_most_once_in_a_hundred(name):
    found = run_contests(SCENARIOS[name], trials=200, seed=1)
    assert found.decided >= 0.9
    assert found.wrong == 0
    assert found.equal_called_different <= 0.01
    assert found.itself_called_different <= 0.01
    assert found.half_width < 0.03


def test_a_quiet_machine_needs_few_processes():
    assert run_contests(SCENARIOS["quiet"], trials=10, seed=1).mean_rounds < 5


@pytest.mark.parametrize(
    "scenario", ["vary 0.5 %", "vary 1 %", "vary 3 %", "heavy tails, 1 %", "two modes, 1.5 % apart"]
)
def test_the_quoted_interval_covers_the_truth_where_the_data_decide_how_many_launches_there_are(scenario):
    share, launches = launch_coverage(scenario, trials=1500, seed=1, least=3, most=12)
    assert 0.93 <= share <= 0.985
    assert 8 <= launches <= 12


def test_two_modes_that_few_launches_cannot_show_cost_launches_not_coverage():
    share, launches = launch_coverage("two modes, 3 % apart", trials=1500, seed=1, least=3, most=12)
    assert share >= 0.91
    assert launches > 10
