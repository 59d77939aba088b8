import itertools
import math
import random

import numpy as np
import pytest

from gpubench.worker.ab.turns import Turn, log_ratio, orders, rank_sum_p, ratios, self_check


def turns(number, *, ratio=1.0, twin=1.0, after_other=1.0, noise=0.01, drift=0.0, seed=0):
    """Invented turns of `base`, `twin` and `head`; a block after another arm's takes `after_other` as long."""
    draw = random.Random(seed)
    made, previous = [], None
    for order in itertools.islice(orders(["base", "head", "twin"], seed), number):
        level = math.exp(drift * draw.random())
        times, after = {}, {}
        for name in order:
            own = {"base": 1.0, "head": ratio, "twin": twin}[name]
            moved = after_other if previous is not None and (previous == "head") != (name == "head") else 1.0
            times[name] = 0.01 * level * own * moved * math.exp(draw.gauss(0, noise))
            after[name], previous = previous, name
        made.append(Turn(times, after))
    return made


def test_every_turn_has_each_arm_once_in_an_order_of_its_own():
    drawn = [tuple(order) for order in itertools.islice(orders(["a", "b"], 1), 200)]
    assert set(drawn) == {("a", "b"), ("b", "a")}
    assert 60 < drawn.count(("a", "b")) < 140
    assert drawn == [tuple(order) for order in itertools.islice(orders(["a", "b"], 1), 200)]


def test_a_slow_down_is_found_under_a_drift_many_times_its_size():
    found = ratios(turns(60, ratio=1.03, drift=0.5), "base", "head")
    assert log_ratio(found) == pytest.approx(math.log(1.03), abs=0.006)


def test_arms_turned_around_give_the_opposite():
    made = turns(40, ratio=1.05, noise=0.02)
    assert log_ratio(ratios(made, "head", "base")) == pytest.approx(-log_ratio(ratios(made, "base", "head")), abs=2e-3)


def test_a_single_turn_has_a_value():
    assert log_ratio([1.1]) == pytest.approx(math.log(1.1))


def test_an_arm_against_itself_is_near_nothing():
    check = self_check(turns(60), "base", "twin")
    assert check.low < 0 < check.high
    assert abs(check.twin) < 0.01
    assert check.p_value > 0.006


def test_a_replica_that_differs_from_its_twin_is_seen():
    check = self_check(turns(60, twin=1.05), "base", "twin")
    assert check.low > 0.03
    assert check.twin == pytest.approx(math.log(1.05), abs=0.01)


def test_what_ran_before_is_seen_where_it_still_tells():
    check = self_check(turns(90, after_other=1.08), "base", "twin")
    assert check.after_other == pytest.approx(math.log(1.08), abs=0.01)
    assert check.p_value < 0.006


def test_too_few_turns_say_nothing():
    assert self_check(turns(5), "base", "twin") is None
    check = self_check(turns(8), "base", "twin")
    assert check.p_value is None


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_sum_test_is_scipys(seed):
    from scipy.stats import mannwhitneyu

    random = np.random.default_rng(seed)
    first, second = random.normal(size=9 + seed), random.normal(0.3 * seed, size=14)
    assert rank_sum_p(list(first), list(second)) == pytest.approx(
        mannwhitneyu(first, second, method="asymptotic").pvalue, rel=1e-6
    )
