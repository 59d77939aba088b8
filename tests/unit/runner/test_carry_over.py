import math

import pytest

from gpubench.protocol.messages import SelfCheck
from gpubench.runner.block_launches import Suspicion, suspicion


def test_an_arm_that_equals_itself_is_not_suspected():
    assert suspicion(SelfCheck(twin=0.004, low=-0.01, high=0.02, after_other=0.02, p_value=0.3)) is None
    assert suspicion(None) is None


def test_a_small_difference_is_where_memory_lies_and_no_carry_over():
    assert suspicion(SelfCheck(twin=0.012, low=0.010, high=0.014)) is None


def test_a_difference_that_the_interval_does_not_exclude_is_noise():
    assert suspicion(SelfCheck(twin=0.05, low=-0.01, high=0.11)) is None
    assert suspicion(SelfCheck(twin=0.05)) is None


@pytest.mark.parametrize("size", [0.05, -0.05])
def test_a_plain_difference_of_an_arm_from_itself_is_suspected(size):
    found = suspicion(SelfCheck(twin=size, low=size - 0.01, high=size + 0.01))
    assert found.log_ratio == size
    assert "the same arm, measured twice, took" in str(found)


def test_blocks_that_feel_what_ran_before_them_are_suspected():
    found = suspicion(SelfCheck(twin=0.0, low=-0.01, high=0.01, after_other=math.log(1.2), p_value=1e-4))
    assert str(found) == "a block after another arm's took +20.0%"


def test_it_counts_only_where_it_shows_again_in_the_same_direction():
    found = Suspicion("x", 0.05)
    assert found.confirmed_by(Suspicion("x", 0.02))
    assert not found.confirmed_by(Suspicion("x", -0.05))
    assert not found.confirmed_by(Suspicion("y", 0.05))
    assert not found.confirmed_by(None)
