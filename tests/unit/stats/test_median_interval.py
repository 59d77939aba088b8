import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from gpubench.stats.median_interval import median_interval, median_rank


@pytest.mark.parametrize(
    ("num", "rank"),
    # The textbook table of 95 % intervals of a median (Le Boudec 2010, appendix A).
    [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (20, 6), (30, 10), (50, 18), (70, 27)],
)
def test_ranks_are_those_of_the_textbook(num, rank):
    assert median_rank(num) == rank


@pytest.mark.parametrize("num", range(6))
def test_five_values_allow_no_interval(num):
    assert median_rank(num) is None


@pytest.mark.parametrize("num", [6, 7, 29, 100, 999, 20_000])
def test_ranks_are_the_largest_that_still_cover(num):
    rank = median_rank(num)
    assert binom.cdf(rank - 1, num, 0.5) <= 0.025 < binom.cdf(rank, num, 0.5)


def test_interval_of_nine_values_is_second_to_eighth():
    assert median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5]) == (2, 8)


def test_interval_is_wider_for_a_smaller_effective_sample():
    times = np.arange(1, 1001, dtype=float)
    assert median_interval(times) == (469, 532)
    low, high = median_interval(times, 100)
    # 100 values: ranks 40 and 61 of 100, so shares 40 / 101 and 61 / 101 of a thousand and one.
    assert (low, high) == (396, 605)


def test_an_effective_sample_below_six_gives_none():
    assert median_interval(np.arange(1000.0), 5.9) is None


def test_an_effective_sample_above_the_sample_counts_as_the_sample():
    times = np.arange(1.0, 51.0)
    assert median_interval(times, 80) == median_interval(times)


def test_interval_covers_the_median_of_a_skewed_distribution():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        low, high = median_interval(rng.exponential(size=40))
        hits += low <= np.log(2) <= high
    # Exact coverage of ranks 14 and 27 of 40 is 96.2 %.
    assert 0.95 <= hits / 2000 <= 0.975


@given(st.lists(st.floats(1e-6, 1e3), min_size=6, max_size=80), st.floats(6, 100))
def test_interval_holds_the_sample_median(times, n_effective):
    interval = median_interval(times, n_effective)
    assert interval is not None
    assert interval[0] <= np.median(times) <= interval[1]
