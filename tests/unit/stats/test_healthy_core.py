"""The centre and spread of healthy cards, whatever the slow ones do."""

import numpy as np
import pytest

from gpubench.stats.healthy_core import healthy_core


def fleet(number, slow=0, by=0.05, seed=1):
    values = np.random.default_rng(seed).normal(0, 0.002, number)
    values[:slow] += by
    return values


@pytest.mark.parametrize(("number", "slow"), [(8, 0), (8, 1), (8, 3), (64, 1), (64, 25), (512, 200), (4096, 1600)])
def test_slow_cards_move_neither_the_centre_nor_the_spread(number, slow):
    core = healthy_core(fleet(number, slow))
    assert core.num_cards <= number - slow
    assert abs(core.centre) < 0.002 if number == 8 else abs(core.centre) < 0.0005
    assert 0.0005 < core.spread < 0.004 if number == 8 else 0.0013 < core.spread < 0.0025


def test_a_healthy_fleet_is_kept_almost_whole():
    core = healthy_core(fleet(512))
    assert core.num_cards >= 505


def test_a_card_that_is_too_fast_does_not_widen_a_large_fleet():
    values = fleet(64)
    values[0] = -0.5
    assert healthy_core(values).spread < 0.0025


def test_equal_values_have_no_spread():
    assert healthy_core([1.0] * 6) == (1.0, 0.0, 6)


def test_four_values_are_too_few():
    with pytest.raises(ValueError, match="4 values are too few"):
        healthy_core([1.0, 1.0, 1.0, 2.0])
