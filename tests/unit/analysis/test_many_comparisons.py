import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from gpubench.analysis.verdict.many_comparisons import benjamini_hochberg, judge_suite, screen


def noise(effect: float, seed: int, sigma: float = 0.01, num: int = 10) -> list:
    return (effect + sigma * np.random.default_rng(seed).standard_normal(num)).tolist()


def test_benjamini_hochberg_of_their_own_example():
    # Benjamini and Hochberg 1995, section 3.2: 15 hypotheses, four rejected at 5 %.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    assert sum(benjamini_hochberg([*p_values, 0.7590, 1.0], 0.05)) == 4


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.2]))
def test_benjamini_hochberg_is_that_of_scipy(p_values, rate):
    adjusted = false_discovery_control(p_values)
    # A p-value exactly on the line may round either way.
    decided = [abs(value - rate) > 1e-12 for value in adjusted]
    ours, theirs = benjamini_hochberg(p_values, rate), adjusted <= rate
    assert [a for a, sure in zip(ours, decided, strict=True) if sure] == [
        bool(a) for a, sure in zip(theirs, decided, strict=True) if sure
    ]


def test_no_hypotheses_reject_nothing():
    assert benjamini_hochberg([]) == ()


def test_a_p_value_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        benjamini_hochberg([0.5, 1.1])


def test_screening_keeps_cases_that_moved_in_either_direction():
    found = screen({"up": noise(0.05, 1), "down": noise(-0.05, 2), "still": [0.01, -0.01] * 5})
    assert [(suspect.name, suspect.direction) for suspect in found] == [("up", "slower"), ("down", "faster")]


def test_a_suspect_that_is_not_confirmed_raises_no_alarm():
    asked = []

    def confirm(names):
        asked.append(names)
        return {name: [0.002, -0.002] * 5 for name in names}

    found = judge_suite({"a": noise(0.05, 1), "b": [0.001, -0.001] * 5}, confirm)
    assert asked == [("a",)]
    assert {name: entry.verdict for name, entry in found.items()} == {"a": "same", "b": "same"}


def test_a_confirmed_slow_down_is_slower_and_its_estimate_is_fresh():
    found = judge_suite({"a": noise(0.08, 1)}, lambda names: {name: noise(0.05, 7) for name in names})["a"]
    assert found.verdict == "slower"
    assert found.ratio == pytest.approx(math.exp(0.05), abs=0.01)
    assert found.reason.startswith("confirmed by 10 fresh rounds")


def test_a_confirmed_change_in_the_other_direction_is_no_alarm():
    found = judge_suite({"a": noise(0.05, 1)}, lambda names: {name: noise(-0.05, 2) for name in names})["a"]
    assert found.verdict == "unclear"


def test_a_certain_but_tiny_change_is_same():
    found = judge_suite(
        {"a": noise(0.004, 1, sigma=0.0005)}, lambda names: {name: noise(0.004, 2, sigma=0.0005) for name in names}
    )["a"]
    assert found.verdict == "same"


def test_nothing_is_measured_again_when_nothing_is_suspect():
    def never(names):
        raise AssertionError(names)

    assert judge_suite({"a": [0.001, -0.001] * 5}, never)["a"].verdict == "same"


def test_a_suspect_without_fresh_rounds_is_unclear():
    found = judge_suite({"a": noise(0.05, 1)}, lambda names: {})["a"]
    assert (found.verdict, found.rounds_needed) == ("unclear", None)
    assert found.reason == "looks slower in its first rounds; the fresh ones that would tell are missing"
