"""How many launches are enough."""

import pytest

from gpubench.stats.launch_looks import CONFIDENCE, FEW, are_enough, located, looks


def test_looks_begin_at_the_least_and_end_at_the_most():
    assert looks(3, 12) == (3, 4, 6, 8, 11, 12)
    assert looks(5, 5) == (5,)


def test_launches_that_agree_are_enough_at_the_least():
    assert are_enough([0.0, 0.001, -0.001], 3, 12, 0.05)
    assert not are_enough([0.0, 0.001], 3, 12, 0.05)


def test_few_launches_that_agree_may_all_be_in_the_same_mode_of_two():
    values = [0.001 * (-1) ** place for place in range(12)]
    assert not are_enough(values[: FEW - 1], 3, 12, 0.01)
    assert are_enough(values[:FEW], 3, 12, 0.01)
    low, high = located(values[:4]).interval(CONFIDENCE)
    assert (high - low) / 2 == pytest.approx(3.896 * 0.01 / 2, rel=1e-3)  # t of three degrees of freedom


def test_launches_that_differ_go_on_to_the_most():
    values = [0.05 * (-1) ** place for place in range(12)]
    assert not are_enough(values[:11], 3, 12, 0.01)
    assert are_enough(values, 3, 12, 0.01)


@pytest.mark.parametrize("number", [5, 7])
def test_between_two_looks_nothing_is_decided(number):
    wild, calm = [0.1, -0.1, 0.05, -0.05], [0.0] * 40
    assert not are_enough([*wild, *calm][:number], 3, 100, 0.001)
