import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.stats.warmup import (
    block_medians,
    change_points,
    mser_truncation,
    pelt_truncation,
    segments,
    warmup_length,
)


def noisy(num: int, seed: int = 0, sigma: float = 0.01) -> np.ndarray:
    return 0.01 * np.exp(sigma * np.random.default_rng(seed).standard_normal(num))


def test_block_medians_leave_out_the_rest():
    assert block_medians([1, 9, 2, 5, 5, 6, 7], 3).tolist() == [2, 5]


def test_mser_of_a_hand_computed_series():
    # d=0: var 12 / 8; d=1: 0 / 7, the least; no later d can be smaller, and ties go to the front.
    assert mser_truncation([9.0, 1, 1, 1, 1, 1, 1, 1]) == 1


def test_mser_matches_its_definition():
    x = np.concatenate((np.linspace(3, 1, 12), 1 + 0.05 * np.random.default_rng(3).standard_normal(48)))
    expected = min(range(31), key=lambda d: float(np.var(x[d:])) / (x.size - d))
    assert mser_truncation(x) == expected
    assert expected >= 8


def test_mser_drops_at_most_half():
    assert mser_truncation(np.arange(20.0, 0, -1)) <= 10


def test_a_level_series_has_one_segment():
    assert change_points(np.log(noisy(200))) == (0,)


def test_a_jump_is_found_where_it_is():
    x = np.log(noisy(100))
    x[:30] += 0.2
    assert change_points(x) == (0, 30)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("penalty", [0.5, 2.0, 8.0])
def test_segments_are_the_cheapest_of_all_that_there_are(seed, penalty):
    x = np.random.default_rng(seed).standard_normal(10)
    x[:4] += 2
    places = (cut for num in range(5) for cut in itertools.combinations(range(2, 9), num))
    possible = [cut for cut in places if min(np.diff((0, *cut, 10))) >= 2]
    costs = {(0, *cut): sum(part.var() * part.size + penalty for part in np.split(x, cut)) for cut in possible}
    assert segments(x, penalty) == min(costs, key=costs.get)


def test_levels_within_one_percent_are_merged_from_the_end():
    x = np.log(noisy(160, sigma=0.0003))
    x[:40] += 0.30
    x[40:80] += 0.008
    assert change_points(x) == (0, 40, 80)
    assert pelt_truncation(x) == 40


def test_levels_further_apart_than_one_percent_are_not_merged():
    x = np.log(noisy(160, sigma=0.0005))
    x[:40] += 0.30
    x[40:80] += 0.02
    assert pelt_truncation(x) == 80


def test_a_constant_series_has_no_change_points():
    assert change_points([0.5] * 50) == (0,)


def test_a_coarse_clock_does_not_hide_a_jump():
    blocks = np.log(np.round(noisy(100, sigma=0.0001), 4))
    blocks[:20] += 0.5
    assert pelt_truncation(blocks) == 20


def test_five_steps_are_dropped_from_a_level_series():
    lengths = [warmup_length(noisy(400, seed)) for seed in range(20)]
    assert float(np.median(lengths)) <= 60
    assert min(lengths) >= 5


@pytest.mark.parametrize("warm", [25, 60, 100])
def test_a_slow_start_is_dropped_whole(warm):
    times = noisy(400, 1)
    times[:warm] *= 1.5
    assert warm <= warmup_length(times) <= warm + 60


def test_an_exponential_warmup_leaves_less_than_one_percent_of_bias():
    times = noisy(500, 2) * (1 + 0.8 * np.exp(-np.arange(500) / 20))
    cut = warmup_length(times)
    assert 0.8 * math.exp(-cut / 20) < 0.05
    assert cut < 250


def test_at_most_half_is_dropped():
    times = noisy(100, 3)
    times[:80] *= 2
    assert warmup_length(times) == 50


@pytest.mark.parametrize(("num", "dropped"), [(0, 0), (1, 0), (4, 2), (9, 4), (10, 5), (14, 5)])
def test_short_series_drop_five_or_half(num, dropped):
    assert warmup_length([0.01] * num) == dropped


def test_a_long_series_is_judged_on_wider_blocks():
    times = noisy(20_000, 4)
    times[:3000] *= 1.2
    assert 3000 <= warmup_length(times) <= 6000


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_times_that_are_not_positive_are_refused(bad):
    with pytest.raises(ValueError, match="finite and positive"):
        warmup_length([0.01, bad, 0.01])


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=150))
def test_warmup_is_between_its_bounds_for_any_series(times):
    assert min(5, len(times) // 2) <= warmup_length(times) <= len(times) // 2
