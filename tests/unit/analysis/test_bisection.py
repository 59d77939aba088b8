import math

import pytest

from gpubench.analysis.verdict.bisection import CONFIDENCE, MOST_PER_COMMIT, Bisection
from gpubench.stats.estimators import Location

BAD, GOOD = Location(0.02, 0.002, 9), Location(0.0, 0.002, 9)


def bisection(num):
    return Bisection(num, least=0.01, most=0.03)


def found(search, first_bad, skipped=()):
    """The answer, and the commits that were judged."""
    asked = []
    while (commit := search.question()) is not None:
        asked.append(commit)
        if commit in skipped:
            search.skip(commit)
        else:
            search.learn(commit, BAD if commit >= first_bad else GOOD)
    return search.answer(), asked


@pytest.mark.parametrize("num", [1, 2, 3, 33, 128])
def test_every_first_bad_commit_is_found_in_about_as_many_judgements_as_halving_takes(num):
    for first_bad in range(num):
        answer, asked = found(bisection(num), first_bad)
        assert (answer.first, answer.last) == (first_bad, first_bad)
        assert answer.probability >= CONFIDENCE
        assert len(asked) <= (math.ceil(math.log2(num)) + 2 if num > 1 else 0)


def test_one_wrong_judgement_is_found_out():
    search = bisection(64)
    wrong = search.question()
    search.learn(wrong, Location(0.006, 0.003, 9))  # bad from 10 on, and here hardly
    answer, asked = found(search, 10)
    assert (answer.first, answer.last) == (10, 10)
    assert wrong == 31
    assert len(asked) > 6
    assert search.num_left() == 1


def test_what_is_left_shrinks_by_halves():
    search = bisection(64)
    assert search.num_left() == 58  # nine tenths of 64
    search.learn(31, GOOD)
    assert 27 <= search.num_left() <= 32


def test_commits_that_cannot_be_judged_are_told_apart_by_nothing():
    answer, asked = found(bisection(32), 20, skipped={18, 19, 20})
    assert (answer.first, answer.last) == (18, 21)
    assert answer.probability >= CONFIDENCE
    assert len(set(asked)) == len(asked)


def test_without_any_commit_that_can_be_judged_all_are_suspects():
    search = bisection(3)
    search.skip(0)
    search.skip(1)
    assert search.question() is None
    assert (search.answer().first, search.answer().last, search.answer().probability) == (0, 2, pytest.approx(1.0))


def test_a_commit_that_stays_open_is_judged_a_few_times_only():
    search, asked = bisection(2), 0
    while search.question() is not None:
        search.learn(0, Location(0.008, 0.01, 9))
        asked += 1
    assert asked == MOST_PER_COMMIT
    assert search.answer().probability < CONFIDENCE


def test_a_judgement_without_noise_decides():
    search = bisection(2)
    search.learn_verdict(0, bad=True)
    assert (search.answer().first, search.question()) == (0, None)


def test_there_must_be_a_commit_and_an_effect():
    with pytest.raises(ValueError, match="a commit"):
        bisection(0)
    with pytest.raises(ValueError, match="limits above 0"):
        Bisection(3, least=0.02, most=0.01)
