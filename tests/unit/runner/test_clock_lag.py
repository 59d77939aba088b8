"""The worker's clock beside the parent's."""

import pytest

from gpubench.protocol.messages import Phase
from gpubench.runner.launch.clock_lag import ClockLag

NAMES = ("build", "warmup", "measuring", "checking", "closing")


def _heard(rate, delays=(0.0,) * 5):
    lag = ClockLag()
    for second, (name, delay_s) in enumerate(zip(NAMES, delays, strict=True)):
        lag.hear(Phase(name=name, at_s=100 + rate * second), 100 + second + delay_s)
    return lag


@pytest.mark.parametrize("rate", [1.0, 0.99])
def test_a_clock_that_runs_as_the_parent_s_is_not_slow(rate):
    assert _heard(rate).finding() is None


def test_a_clock_of_half_the_speed_is_slow():
    found = _heard(0.5).finding()
    assert (found.code, found.data["behind_s"]) == ("GB216", pytest.approx(1.5))


def test_a_parent_that_reads_one_message_late_says_nothing():
    assert _heard(1.0, (0, 0, 0, 3.0, 0.1)).finding() is None


def test_a_parent_that_stood_still_says_nothing():
    lag = _heard(0.5)
    lag.stand_still()
    assert lag.finding() is None
