import math
import random

import pytest
from fakes.gate_runs import two_arms

from gpubench.analysis.compare.compare_sides import compare_sides, looks_changed
from gpubench.analysis.compare.run_sides import arm_sides
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.store.run_info import ArmInfo, RunInfo

SETTINGS = CompareSettings()


class Screened:
    """A run of two arms whose cases are given as log ratios of their rounds."""

    def __init__(self, screen_rounds=10):
        self.made, self.screen_rounds = two_arms(), screen_rounds

    def case(self, logs, **settings):
        planned = self.made.plan(**settings)
        self.made.launches(planned, 1000.0, [1.0] * len(logs), arm="base")
        self.made.launches(planned, 1000.0, [math.exp(-log) for log in logs], arm="head")

    def compared(self, metrics=("throughput",)):
        info = RunInfo(
            run="r",
            suite_name="fake",
            suite={"schema": 1, "name": "fake"},
            suite_digest="0",
            created="2026-11-23T16:02:00Z",
            repeats=20,
            cases=tuple(self.made.planned),
            arms=(ArmInfo(name="base"), ArmInfo(name="head")),
            screen_rounds=self.screen_rounds,
        )
        run = type("Run", (), {"info": info, "records": tuple(self.made.records)})
        reference, (candidate,) = arm_sides(run)
        return compare_sides(reference, candidate, metrics, SETTINGS)

    def verdicts(self):
        return [change.changes["throughput"].comparison.verdict for change in self.compared().changes]


def noise(number, mean=0.0, spread=0.005, seed=0):
    draw = random.Random(seed)
    return [draw.gauss(mean, spread) for _ in range(number)]


def test_a_real_change_is_confirmed_by_its_fresh_rounds_alone():
    run = Screened()
    run.case(noise(10, 0.08) + noise(10, 0.05, seed=1), batch_size=1)
    run.case(noise(10, seed=2), batch_size=2)
    assert run.verdicts() == ["slower", "same"]
    found = run.compared().changes[0].changes["throughput"].comparison
    assert found.ratio == pytest.approx(math.exp(0.05), abs=0.005)
    assert found.rounds == 10
    assert found.level == "launch"
    assert "confirmed by 10 fresh rounds" in found.reason


def test_a_case_that_looked_changed_by_chance_is_not():
    run = Screened()
    run.case(noise(10, 0.02) + noise(10, seed=1), batch_size=1)
    assert run.verdicts() == ["same"]


def test_a_suspect_without_fresh_rounds_is_unclear_and_says_so():
    run = Screened()
    run.case(noise(10, 0.08), batch_size=1)
    run.case(noise(10, seed=2), batch_size=2)
    assert run.verdicts() == ["unclear", "same"]
    reason = run.compared().changes[0].changes["throughput"].reason
    assert reason == "looks slower in its first rounds; the fresh ones that would tell are missing"


def test_too_few_rounds_to_screen_leave_the_case_as_it_was():
    run = Screened()
    run.case(noise(2, 0.08), batch_size=1)
    assert run.verdicts() == ["unclear"]


def test_memory_is_judged_by_its_own_rule():
    run = Screened()
    run.case(noise(10), batch_size=1)
    found = run.compared(("throughput", "peak_rss_bytes")).changes[0].changes
    assert found["peak_rss_bytes"].reason == "nearly deterministic: maxima compared"


def test_of_fifty_unchanged_cases_none_alarms():
    run = Screened()
    for number in range(1, 51):
        run.case(noise(20, spread=0.01, seed=number), batch_size=number)
    assert set(run.verdicts()) <= {"same", "unclear"}


def test_a_case_is_measured_again_where_its_rounds_point_one_way():
    assert looks_changed(noise(10, 0.03), SETTINGS)
    assert not looks_changed(noise(10), SETTINGS)
    assert not looks_changed([0.5, 0.5], SETTINGS)
