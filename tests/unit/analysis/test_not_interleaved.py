import math

import numpy as np
import pytest

from gpubench.analysis.verdict.not_interleaved import ONE_PROCESS, compare_single, compare_stored


def launches(level: float, seed: int, num: int = 6, sigma: float = 0.005) -> list[float]:
    return list(level * np.exp(sigma * np.random.default_rng(seed).standard_normal(num)))


def test_a_slow_down_between_stored_runs_is_not_called_slower():
    found = compare_stored(launches(0.01, 1), launches(0.0105, 2))
    assert found.verdict == "unclear"
    assert found.reason.startswith("not interleaved: looks slower")
    assert found.level == "stored"


def test_it_is_when_the_cap_is_lifted():
    assert compare_stored(launches(0.01, 1), launches(0.0105, 2), allow_unpaired=True).verdict == "slower"
    assert compare_stored(launches(0.0105, 1), launches(0.01, 2), allow_unpaired=True).verdict == "faster"


def test_equal_runs_are_same():
    assert compare_stored(launches(0.01, 1), launches(0.01, 2)).verdict == "same"


def test_two_launches_a_side_have_an_interval_and_no_verdict():
    found = compare_stored([0.010, 0.0101], [0.020, 0.0201], allow_unpaired=True)
    assert found.verdict == "unclear"
    assert found.low < 2 < found.high


def test_one_launch_a_side_is_descriptive():
    found = compare_stored([0.010], [0.020, 0.021], allow_unpaired=True)
    assert (found.verdict, found.low, found.rounds) == ("unclear", None, 1)
    assert found.ratio == pytest.approx(math.sqrt(0.020 * 0.021) / 0.010)


@pytest.mark.parametrize("bad", [[], [0.0], [math.nan]])
def test_sides_without_proper_times_are_refused(bad):
    with pytest.raises(ValueError, match="finite, positive"):
        compare_stored([0.01, 0.01, 0.01], bad)


def test_noisy_stored_runs_are_unclear():
    assert compare_stored(launches(0.01, 3, 3, 0.05), launches(0.01, 4, 3, 0.05)).verdict == "unclear"


def test_one_process_a_side_is_judged_only_when_asked_and_says_what_it_does_not_know():
    tight = ((0.00995, 0.01005), (0.0109, 0.0111))
    capped = compare_single(0.010, 0.011, tight)
    assert (capped.verdict, capped.reason, capped.level) == ("unclear", ONE_PROCESS, "single")
    found = compare_single(0.010, 0.011, tight, allow_unpaired=True)
    assert (found.verdict, found.ratio) == ("slower", pytest.approx(1.1))
    assert "one process a side" in found.reason
    # Half-widths of 0.5 % and 0.91 % in quadrature: 1.04 %.
    assert found.high / found.ratio == pytest.approx(1.0104, abs=2e-4)


def test_wide_intervals_of_one_process_are_unclear():
    wide = ((0.008, 0.012), (0.009, 0.013))
    assert compare_single(0.010, 0.011, wide, allow_unpaired=True).verdict == "unclear"


def test_the_interval_of_a_rate_may_come_with_its_ends_swapped():
    straight = compare_single(0.01, 0.011, ((0.0099, 0.0101), (0.0109, 0.0111)), allow_unpaired=True)
    swapped = compare_single(0.01, 0.011, ((0.0101, 0.0099), (0.0111, 0.0109)), allow_unpaired=True)
    assert swapped.high == pytest.approx(straight.high)
