"""Which card of a fleet is named, and on what grounds."""

import math

import numpy as np
import pytest

from gpubench.analysis.fleet.judge_cards import name_slow, probe_of, retest, screen


def launches(number, slow=None, spread=0.002, seed=1):
    """Eight launches per card that vary by 0.2 %; `slow` maps a card to the share it is slower by."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, spread, number)
    for card, by in (slow or {}).items():
        levels[card] = math.log1p(by)
    return [(level + rng.normal(0, 0.002, 8)).tolist() for level in levels]


def rounds(by, seed=2):
    return (math.log1p(by) + np.random.default_rng(seed).normal(0, 0.0028, 8)).tolist()


@pytest.mark.parametrize("number", [8, 64, 512])
def test_a_card_two_per_cent_slow_is_the_only_suspect(number):
    found = screen(probe_of(launches(number, {3: 0.02})))
    assert found.suspects == (3,)
    assert found.excess[3] == pytest.approx(0.02, abs=0.004)
    assert found.reference != 3


def test_suspects_come_slowest_first():
    assert screen(probe_of(launches(64, {3: 0.02, 9: 0.05}))).suspects == (9, 3)


def test_a_healthy_fleet_that_differs_by_two_per_cent_has_no_suspect():
    assert screen(probe_of(launches(64, spread=0.02))).suspects == ()


def test_a_card_far_beyond_the_spread_of_a_few_that_disagree_is_suspected():
    assert screen(probe_of(launches(8, {0: 0.5}, spread=0.01))).suspects == (0,)


def test_a_suspect_is_slow_if_fresh_launches_in_turn_say_so():
    screening = screen(probe_of(launches(64, {3: 0.02})))
    named = name_slow(screening, {3: rounds(0.02)}, fdr=0.05)
    assert named[3].low < 0.02 < named[3].high


def test_a_suspect_that_is_as_fast_as_a_healthy_card_is_not_named():
    screening = screen(probe_of(launches(64, {3: 0.02})))
    assert not retest(rounds(0.0), screening).slow
    assert name_slow(screening, {3: rounds(0.0)}, fdr=0.05) == {}


def test_a_suspect_that_was_not_measured_again_is_not_named():
    assert name_slow(screen(probe_of(launches(64, {3: 0.02}))), {}, fdr=0.05) == {}


def test_the_estimate_is_that_of_the_fresh_launches():
    screening = screen(probe_of(launches(64, {3: 0.06})))
    named = name_slow(screening, {3: rounds(0.03)}, fdr=0.05)
    assert named[3].excess == pytest.approx(0.03, abs=0.004)


def test_one_launch_per_card_says_nothing_of_chance():
    with pytest.raises(ValueError, match="no card was launched twice"):
        probe_of([[0.0]] * 8)


def test_four_cards_are_too_few():
    with pytest.raises(ValueError, match="4 cards are too few"):
        probe_of(launches(4))
