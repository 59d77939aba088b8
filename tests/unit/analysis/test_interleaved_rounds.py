import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench.analysis.verdict import interleaved_rounds
from gpubench.analysis.verdict.interleaved_rounds import (
    CompareSettings,
    SequentialComparison,
    compare_log_ratios,
    compare_rounds,
)

LOGS = st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=24)
OPPOSITE = {"slower": "faster", "faster": "slower", "same": "same", "unclear": "unclear"}


def rounds(effect: float, noise: float, num: int = 24, seed: int = 0) -> tuple[list, list]:
    rng = np.random.default_rng(seed)
    base = 0.01 * np.exp(noise * rng.standard_normal((num, 1)) + 0.02 * rng.standard_normal((num, 40)))
    head = 0.01 * np.exp(noise * rng.standard_normal((num, 1)) + 0.02 * rng.standard_normal((num, 40)))
    return base.tolist(), (head * (1 + effect)).tolist()


def test_the_example_of_the_module_runs():
    assert doctest.testmod(interleaved_rounds) == (0, 5)


def test_a_clear_slow_down_is_found_at_the_first_look():
    found = compare_rounds(*rounds(0.10, 0.003))
    assert (found.verdict, found.rounds) == ("slower", 5)
    assert found.low <= 1.10 <= found.high
    assert found.ratio == pytest.approx(1.10, abs=0.01)


def test_a_speed_up_is_faster():
    found = compare_rounds(*rounds(-0.05, 0.005))
    assert found.verdict == "faster"
    assert found.ratio == pytest.approx(0.95, abs=0.01)


def test_no_change_is_same_and_the_interval_lies_inside_the_limit():
    found = compare_rounds(*rounds(0.0, 0.005))
    assert found.verdict == "same"
    assert 1 / 1.03 < found.low <= found.ratio <= found.high < 1.03


def test_noise_that_hides_the_effect_is_unclear_and_names_the_rounds_needed():
    found = compare_rounds(*rounds(0.03, 0.06, seed=3))
    assert (found.verdict, found.rounds) == ("unclear", 24)
    assert found.rounds_needed > 24


def test_a_small_real_difference_is_same_and_said_to_be_real():
    logs = [0.005 + 0.0001 * (-1) ** r for r in range(6)]
    found = compare_log_ratios(logs)
    assert found.verdict == "same"
    assert "a real difference" in found.reason


def test_the_median_of_a_round_ignores_one_slow_step():
    base, head = rounds(0.0, 0.002)
    for steps in head:
        steps[0] *= 50
    assert compare_rounds(base, head).verdict == "same"


def test_one_bad_launch_in_twenty_does_not_hide_a_slow_down():
    base, head = rounds(0.03, 0.005)
    head[3] = [3 * t for t in head[3]]
    assert compare_rounds(base, head).verdict == "slower"


def test_what_both_arms_of_a_round_share_cancels():
    base, head = rounds(0.03, 0.002)
    drift = np.linspace(1, 2, 24)
    drifted = compare_rounds(
        [[t * d for t in steps] for steps, d in zip(base, drift, strict=True)],
        [[t * d for t in steps] for steps, d in zip(head, drift, strict=True)],
    )
    assert drifted.verdict == "slower"
    assert drifted.ratio == pytest.approx(compare_rounds(base, head).ratio)


def test_the_estimate_of_a_hand_computed_look():
    # Eight rounds, g = 1: kept 0.02 ... 0.07; winsorised 0.02 0.02 0.03 0.04 0.05 0.06 0.07 0.07.
    found = compare_log_ratios([0.01, 0.90, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
    spread = math.sqrt(sum((w - 0.045) ** 2 for w in (0.02, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.07)) / 7)
    error = spread / ((1 - 2 / 8) * math.sqrt(8))
    assert found.ratio == pytest.approx(math.exp(0.045))
    assert found.location.standard_error == pytest.approx(error)
    assert found.location.df == 5
    # t of five degrees of freedom at 1.5 % in each tail is 3.0029.
    assert found.high == pytest.approx(math.exp(0.045 + 3.002875 * error), rel=1e-5)


def test_of_few_rounds_none_is_cut():
    found = compare_log_ratios([0.01, 0.02, 0.03, 0.04, 0.30])
    assert found.ratio == pytest.approx(math.exp(0.08))
    assert found.location.df == 4


def test_equal_arms_without_noise_are_same():
    found = compare_rounds([[0.01]] * 6, [[0.01]] * 6)
    assert (found.verdict, found.ratio, found.low, found.high) == ("same", 1.0, 1.0, 1.0)


def test_a_difference_without_noise_is_certain():
    assert compare_rounds([[0.010]] * 6, [[0.011]] * 6).verdict == "slower"


@pytest.mark.parametrize("num", [0, 1, 2, 4])
def test_fewer_rounds_than_the_first_look_never_give_a_verdict(num):
    found = compare_rounds([[0.01]] * num, [[0.02]] * num)
    assert (found.verdict, found.rounds, found.rounds_needed) == ("unclear", num, None)
    assert found.reason == f"{num} of the 5 rounds that the first look needs"
    assert (found.low is None) == (num < 2)


def test_arms_of_different_length_are_refused():
    with pytest.raises(ValueError, match="as many rounds: 6 and 7"):
        compare_rounds([[0.01]] * 6, [[0.01]] * 7)


@pytest.mark.parametrize("bad", [[], [0.01, 0.0], [-0.01], [math.nan], [math.inf]])
def test_a_round_without_proper_times_is_refused(bad):
    with pytest.raises(ValueError, match=r"step time"):
        compare_rounds([[0.01]] * 6, [[0.01]] * 5 + [bad])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_log_ratio_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="must be finite"):
        compare_log_ratios([0.0] * 7 + [bad])


@pytest.mark.filterwarnings("error")
def test_times_at_the_ends_of_what_a_float_holds_are_judged_like_any_other():
    most, least = 1.7e308, 5e-324
    assert compare_rounds([[most, most]] * 6, [[most, most]] * 6).verdict == "same"
    assert compare_rounds([[most, most]] * 6, [[least]] * 6).verdict == "faster"
    found = compare_rounds([[least]] * 6, [[most, most]] * 6)
    assert found.verdict == "slower"
    assert math.isfinite(found.ratio)
    wild = compare_rounds([[1e-200], [1e200]] * 3, [[1e200], [1e-200]] * 3)
    assert (wild.verdict, compare_rounds([[1e-200], [1e200]], [[1e200], [1e-200]]).verdict) == ("unclear", "unclear")


def test_the_median_is_that_of_the_sorted_steps():
    assert compare_rounds([[3.0, 1.0, 2.0]], [[4.0, 1.0, 3.0, 2.0]]).ratio == pytest.approx(1.25)


def test_looks_spend_more_of_alpha_the_later_they_are():
    schedule = CompareSettings().schedule()
    assert [look.rounds for look in schedule] == [5, 7, 10, 16, 24]
    assert [look.alpha for look in schedule] == pytest.approx([0.0004, 0.0008, 0.0012, 0.0016, 0.002])
    assert [look.beta for look in schedule] == pytest.approx([0.025 * share / 15 for share in range(1, 6)])


@pytest.mark.parametrize(
    ("rounds_given", "looks", "last_share"),
    [
        (5, [5], 1.0),
        (6, [5, 6], 14 / 15),
        (7, [5, 7], 14 / 15),
        (20, [5, 7, 10, 16, 20], 1 / 3),
        (99, [5, 7, 10, 16, 24], 1 / 3),
    ],
)
def test_data_that_end_early_are_looked_at_once_more_with_what_is_left(rounds_given, looks, last_share):
    schedule = CompareSettings().schedule(rounds_given)
    assert [look.rounds for look in schedule] == looks
    assert schedule[-1].alpha == pytest.approx(0.006 * last_share)
    assert sum(look.alpha for look in schedule) == pytest.approx(0.006)


def test_stored_rounds_get_the_verdict_at_which_measuring_stopped():
    rng = np.random.default_rng(2)
    for effect in (0.0, 0.015, 0.018, 0.02, 0.03):
        for noise in (0.002, 0.004, 0.01):
            for _ in range(40):
                logs = list(effect + noise * rng.standard_normal(24))
                measured = SequentialComparison()
                while measured.verdict is None:
                    measured.add_round([1.0], [math.exp(logs[measured.rounds])])
                stored = compare_log_ratios(logs[: measured.rounds])
                assert (stored.verdict, stored.rounds) == (measured.verdict, measured.rounds)


def test_what_is_left_is_spent_where_a_planned_look_settled_nothing():
    schedule = CompareSettings().passes(7)
    assert [look.rounds for look in schedule] == [5, 7, 7]
    assert [look.alpha for look in schedule] == pytest.approx([0.0004, 0.0008, 0.0056])
    assert [look.rounds for look in CompareSettings().passes(6)] == [5, 6]
    assert CompareSettings().passes(24) == CompareSettings().schedule()
    assert CompareSettings().passes(4) == ()


def test_max_rounds_is_itself_the_last_look():
    assert [look.rounds for look in CompareSettings(max_rounds=12).schedule()] == [5, 7, 10, 12]
    assert [look.rounds for look in CompareSettings(max_rounds=40).schedule()] == [5, 7, 10, 16, 24, 40]


@pytest.mark.parametrize(
    "wrong",
    [
        {"sesoi": 0},
        {"alpha": 1},
        {"looks": ()},
        {"looks": (6, 6)},
        {"looks": (2, 6)},
        {"looks": (6.5, 10)},
        {"max_rounds": 2},
        {"max_rounds": 6.5},
        {"trim": 0.5},
        {"trim": -0.1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must|needs"):
        CompareSettings(**wrong)


@given(LOGS)
def test_swapping_the_arms_swaps_the_verdict(logs):
    found, swapped = compare_log_ratios(logs), compare_log_ratios([-d for d in logs])
    assert swapped.verdict == OPPOSITE[found.verdict]
    assert swapped.rounds == found.rounds
    assert (swapped.ratio, swapped.low, swapped.high) == pytest.approx((1 / found.ratio, 1 / found.high, 1 / found.low))


@given(
    st.lists(st.lists(st.floats(0.005, 0.02), min_size=1, max_size=7), min_size=12, max_size=24),
    st.sampled_from([2.0**-10, 0.125, 8.0, 2.0**20]),
)
def test_the_unit_of_time_does_not_matter(steps, factor):
    half = len(steps) // 2
    base, head = steps[:half], steps[half : 2 * half]
    scaled = [[[factor * t for t in one] for one in arm] for arm in (base, head)]
    found, again = compare_rounds(base, head), compare_rounds(*scaled)
    assert (again.verdict, again.rounds) == (found.verdict, found.rounds)
    assert (again.ratio, again.low, again.high) == pytest.approx((found.ratio, found.low, found.high), rel=1e-9)


@given(LOGS, st.floats(0.0, 0.3))
def test_a_larger_effect_is_never_found_later_or_missed(logs, more):
    before, after = compare_log_ratios(logs), compare_log_ratios([d + more for d in logs])
    if before.verdict == "slower":
        assert after.verdict == "slower"
        assert after.rounds <= before.rounds
    if after.verdict == "faster":
        assert before.verdict == "faster"


@given(LOGS)
@settings(max_examples=200)
def test_a_verdict_agrees_with_its_numbers(logs):
    found = compare_log_ratios(logs)
    limit = math.log1p(0.03)
    if found.verdict in ("slower", "faster"):
        assert abs(math.log(found.ratio)) >= limit / 2
        assert found.p_value <= found.alpha
        assert (found.ratio > 1) == (found.verdict == "slower")
    if found.verdict == "same":
        assert math.exp(-limit) < found.low <= found.high < math.exp(limit)


@given(st.lists(st.floats(-0.1, 0.1), min_size=24, max_size=24))
def test_judging_while_measuring_gives_the_same_verdict(logs):
    sequential = SequentialComparison()
    at = None
    for number, value in enumerate(logs, start=1):
        if sequential.add_round([0.01], [0.01 * math.exp(value)]) is not None and at is None:
            at = number
    found = compare_rounds([[0.01]] * 24, [[0.01 * math.exp(value)] for value in logs])
    assert (sequential.verdict, at) == (found.verdict, found.rounds)
    assert sequential.result.ratio == pytest.approx(found.ratio)


def test_a_sequential_comparison_is_undecided_until_a_look_settles_it():
    sequential = SequentialComparison(CompareSettings(sesoi=0.03))
    seen = [sequential.add_round([0.01], [0.0111 + 0.00001 * r]) for r in range(7)]
    assert seen == [None, None, None, None, "slower", "slower", "slower"]
    assert (sequential.rounds, sequential.result.rounds) == (5, 5)


def test_only_the_planned_rounds_are_looked_at():
    noisy = rounds(0.03, 0.05, seed=8)
    sequential = SequentialComparison()
    seen = [sequential.add_round(a, b) for a, b in zip(*noisy, strict=True)]
    settled = [number for number, verdict in enumerate(seen, start=1) if verdict is not None]
    assert settled[0] in (5, 7, 10, 16, 24)


def test_the_result_before_a_verdict_is_a_preview():
    sequential = SequentialComparison()
    assert math.isnan(sequential.result.ratio)
    sequential.add_round([0.01], [0.02])
    assert (sequential.result.verdict, sequential.result.ratio) == ("unclear", pytest.approx(2.0))
    assert sequential.verdict is None


def test_a_bad_round_is_refused_and_not_counted():
    sequential = SequentialComparison()
    with pytest.raises(ValueError, match="positive"):
        sequential.add_round([0.01], [0.0])
    assert sequential.rounds == 0


def test_the_limit_of_rounds_ends_an_undecided_comparison():
    sequential = SequentialComparison(CompareSettings(max_rounds=6))
    for number in range(6):
        sequential.add_round([0.01], [0.01 * (1.5 if number % 2 else 0.7)])
    assert sequential.verdict == "unclear"
    assert sequential.result.rounds_needed > 6
