"""The judge against simulated data with known answers: seeded, small; `python -m gpubench.tools.selfcheck statistics`
is larger.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios, judge_many
from gpubench.tools.selfcheck.__main__ import main
from gpubench.tools.selfcheck.other_tool_rules import RULES
from gpubench.tools.selfcheck.simulate_verdicts import (
    SCREEN_AND_CONFIRM,
    _missed,
    log_ratios,
    run_scenario,
    suite_alarms,
)
from gpubench.tools.selfcheck.simulated_steps import SCENARIOS, Scenario, simulate

SEED = 7
TRIALS = 1500
JUDGED = [scenario for scenario in SCENARIOS if scenario.judged]
# Three standard errors of a share of 5 % in this many trials.
SLACK = 3 * math.sqrt(0.05 * 0.95 / TRIALS)


@pytest.fixture(scope="module")
def results():
    def rules(scenario):
        return RULES if scenario.name == "launches vary 1 %" else {}

    cases = itertools.product(SCENARIOS, (0.0, 0.03))
    return {
        (scenario.name, effect): run_scenario(scenario, effect, TRIALS, SEED, rules(scenario))
        for scenario, effect in cases
    }


@pytest.mark.slow
@pytest.mark.parametrize("scenario", JUDGED, ids=lambda scenario: scenario.name)
def test_unchanged_cases_are_called_slower_at_most_once_in_a_hundred(results, scenario):
    assert results[scenario.name, 0.0].shares["slower"] <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("scenario", JUDGED, ids=lambda scenario: scenario.name)
def test_three_percent_is_found_in_at_least_95_of_100(results, scenario):
    assert results[scenario.name, 0.03].shares["slower"] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("scenario", JUDGED, ids=lambda scenario: scenario.name)
def test_three_percent_is_called_same_in_at_most_5_of_100(results, scenario):
    assert results[scenario.name, 0.03].shares["same"] <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 0.03])
@pytest.mark.parametrize("scenario", JUDGED, ids=lambda scenario: scenario.name)
def test_the_interval_covers_the_truth_in_93_to_97_of_100(results, scenario, effect):
    assert 0.93 - SLACK <= results[scenario.name, effect].coverage <= 0.97 + SLACK


@pytest.mark.slow
def test_too_much_noise_is_answered_unclear(results):
    for effect in (0.0, 0.03):
        found = results["launches vary 3 %", effect]
        assert found.shares["unclear"] >= 0.35
    assert results["launches vary 3 %", 0.0].shares["slower"] <= 0.01
    assert results["launches vary 3 %", 0.03].shares["same"] <= 0.05


@pytest.mark.slow
def test_a_quiet_case_costs_few_rounds(results):
    assert results["launches vary 0.5 %", 0.0].mean_rounds <= 10
    assert results["launches vary 1 %", 0.03].mean_rounds <= 14


@pytest.mark.slow
def test_rules_of_other_tools_raise_false_alarms_on_launches_that_vary_one_percent(results):
    found = results["launches vary 1 %", 0.0].others
    assert list(found) == list(RULES)
    assert found["google-benchmark U test"] > 0.2
    assert found["criterion"] > 0.1
    assert found["nvbench compare"] > 0.1
    assert found["pyperf"] > 0.05
    assert found["pytest-benchmark median:2%"] > 0.04


@pytest.mark.slow
def test_a_threshold_of_seven_percent_misses_three(results):
    assert results["launches vary 1 %", 0.03].others["TorchBench 7 %"] < 0.05


@pytest.mark.slow
def test_a_suite_of_fifty_unchanged_cases_raises_an_alarm_at_most_once_in_twenty():
    found = suite_alarms(60, SEED)
    assert found[SCREEN_AND_CONFIRM] <= 0.05
    assert found["a t-test per case at 5 %"] > 0.7


def test_the_vectorised_judge_is_the_public_one():
    rng = np.random.default_rng(SEED)
    scale = rng.choice([0.005, 0.02, 0.06], size=(300, 1))
    logs = rng.choice([0.0, 0.02, 0.03, -0.04], size=(300, 1)) + scale * rng.standard_normal((300, 24))
    many = judge_many(logs)
    for row, verdict, low, high, rounds in zip(logs, many.verdict, many.low, many.high, many.rounds, strict=True):
        found = compare_log_ratios(list(row))
        assert (found.verdict, found.rounds) == (verdict, rounds)
        assert (found.low, found.high) == pytest.approx((low, high))


def test_simulated_times_have_the_shape_and_the_effect_asked_for():
    rng = np.random.default_rng(SEED)
    times = simulate(Scenario("exact", between=0, within=1e-6, phi=0), 0.03, rng, 2, 5)
    assert times.shape == (2, 5, 2, 60)
    assert log_ratios(times) == pytest.approx(np.full((2, 5), math.log(1.03)), abs=1e-5)


def test_simulated_steps_are_autocorrelated_as_asked():
    rng = np.random.default_rng(SEED)
    logs = np.log(simulate(Scenario("ar", between=0, within=0.02, phi=0.8), 0.0, rng, 50, 20))
    x = logs - logs.mean(axis=-1, keepdims=True)
    lag_one = float((x[..., 1:] * x[..., :-1]).mean() / (x**2).mean())
    assert lag_one == pytest.approx(0.78, abs=0.04)


def test_interleaved_arms_share_the_session_and_stored_ones_do_not():
    scenario = Scenario("session", between=0, within=1e-6, session=0.05)
    rng = np.random.default_rng(SEED)
    assert np.abs(log_ratios(simulate(scenario, 0.0, rng, 50, 3))).max() < 1e-4
    assert np.abs(log_ratios(simulate(scenario, 0.0, rng, 50, 3, interleaved=False))).max() > 0.02


def test_the_command_prints_its_tables_and_says_what_was_missed():
    done = CliRunner().invoke(main, ["statistics", "--trials", "20", "--suites", "1", "--seed", "3"])
    assert "| launches vary 1 % | none |" in done.output
    assert "screen and confirm" in done.output
    assert done.exit_code == (1 if "Missed targets" in done.output else 0)


def test_a_target_is_missed_by_more_than_chance_or_not_at_all():
    few = replace(run_scenario(SCENARIOS[0], 0.0, 20, seed=1), coverage=0.9, shares={"slower": 0.05, "same": 0.95})
    assert _missed(few) == []
    assert len(_missed(replace(few, trials=10_000))) == 2


@pytest.mark.parametrize("option", ["--trials", "--suites"])
def test_no_trials_are_refused(option):
    refused = CliRunner().invoke(main, ["statistics", option, "0"])
    assert (refused.exit_code, "Invalid value" in refused.output) == (2, True)
