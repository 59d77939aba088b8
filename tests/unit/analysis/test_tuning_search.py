"""The search for the fastest settings of a grid: what it tries, what it rules out, and when it stops."""

import math
from itertools import product

import pytest

from gpubench.analysis.tuning.grid import Space, TriedPoints
from gpubench.analysis.tuning.search import Search

CODES = tuple(product(range(2), range(3), range(4)))
"""Layout, precision and batch."""

ONE_PROCESS = Space(CODES, (False, False, True), (0,) * len(CODES), batch_axis=2, precision_axis=1)


def at(*code):
    return CODES.index(code)


def speed(point):
    """Layout pays only in the last precision; batches saturate."""
    layout, precision, batch = CODES[point]
    return 0.3 * precision + (0.4 if layout and precision == 2 else -0.1 * layout) + 0.2 * math.log1p(batch)


def searched(space=ONE_PROCESS, *, fails=None, room=None, apart=(), disturbed=()):
    """A whole search without noise; `fails` says how a point fails, `room` how many launches there is time for, and the
    first launch of a point in `disturbed` is a thousand times too slow.
    """
    measured, asked = TriedPoints(apart={*apart}), []
    while (ask := Search(space, measured).next(None if room is None else room - measured.cost)) is not None:
        asked.append(ask)
        for point in ask.launch:
            measured.order += [] if point in measured.order else [point]
            kind = fails(point) if fails else None
            if kind:
                measured.failed[point] = kind
            else:
                slower = math.log(1000) if point in disturbed and ask.repeat == 1 else 0.0
                measured.launches.setdefault(point, {})[ask.repeat] = speed(point) - slower
        groups = {space.groups[point] for point in ask.contest}
        for group in groups:
            measured.contests.append({point: speed(point) for point in ask.contest if space.groups[point] == group})
    return Search(space, measured), asked


def test_a_setting_that_pays_only_together_with_another_is_found():
    search, _ = searched()
    assert search.best == at(1, 2, 3)


def test_a_launch_that_was_disturbed_is_done_again_and_rules_nothing_out():
    alone = at(0, 2, 0)  # the best precision, as the only change from the start
    search, asked = searched(disturbed={alone})
    assert [ask.repeat for ask in asked if alone in ask.launch] == [1, 2]
    assert search.best == at(1, 2, 3)


def test_the_path_leads_from_the_start_to_the_best_with_one_change_at_a_time():
    search, _ = searched()
    assert (search.path[0], search.path[-1]) == (search.start, search.best)
    assert all(
        len(ONE_PROCESS.differ(one, other)) == 1 for one, other in zip(search.path, search.path[1:], strict=False)
    )
    assert all(search.ratio(b, a).rounds >= 3 for a, b in zip(search.path, search.path[1:], strict=False))
    assert search.together.log == pytest.approx(speed(at(1, 2, 3)) - speed(0), abs=1e-6)


def test_what_is_asked_for_begins_with_every_single_change():
    _, asked = searched()
    assert asked[0].launch == (0,)
    assert {*asked[1].launch} == {*ONE_PROCESS.neighbours(0)}
    assert asked[2].contest[0] == 0


def test_a_value_that_fails_alone_is_tried_in_no_other_setting():
    search, asked = searched(fails=lambda point: "failed" if CODES[point][1] == 2 else None)
    assert [point for ask in asked for point in ask.launch if CODES[point][1] == 2] == [at(0, 2, 0)]
    assert search.best == at(0, 1, 3)


def test_after_out_of_memory_no_batch_as_large_is_tried_in_that_precision():
    search, asked = searched(fails=lambda point: "oom" if CODES[point][1] == 0 and CODES[point][2] >= 2 else None)
    tried = [CODES[point] for ask in asked for point in ask.launch]
    assert [code for code in tried if code[1] == 0 and code[2] >= 2 and code[0]] == []
    assert CODES[search.best][:2] == (1, 2)


def test_a_start_that_fails_is_replaced_by_a_neighbour_that_works():
    search, _ = searched(fails=lambda point: "failed" if point == 0 else None)
    assert search.start in ONE_PROCESS.neighbours(0)
    assert search.best == at(1, 2, 3)


def test_where_everything_around_the_start_fails_the_search_ends_without_a_start():
    search, asked = searched(fails=lambda _: "failed")
    assert search.start is None
    assert sum(len(ask.launch) for ask in asked) <= 1 + len(ONE_PROCESS.neighbours(0))


def test_no_search_takes_more_than_its_limit():
    search, _ = searched()
    assert search._measured.cost <= ONE_PROCESS.limit


def test_a_search_with_little_time_names_the_best_so_far():
    search, asked = searched(room=9)
    assert search._measured.cost <= 16
    assert search.best in {point for ask in asked for point in ask.launch}


def test_settings_that_share_no_process_are_compared_launch_by_launch():
    apart = Space(CODES, (False, False, True), (None,) * len(CODES), batch_axis=2, precision_axis=1)
    search, asked = searched(apart)
    assert not any(ask.contest for ask in asked)
    assert search.together.rounds >= 2
    assert search.best == at(1, 2, 3)


def test_settings_that_cannot_be_held_together_are_launched_instead():
    search, _ = searched(apart=range(len(CODES)))
    assert search.best == at(1, 2, 3)


def test_a_setting_with_fewer_changes_is_preferred_where_more_gain_nothing():
    codes = tuple(product(range(2), range(2)))
    space = Space(codes, (False, False), (0,) * 4)
    measured = TriedPoints(order=[0, 1, 2, 3], launches={p: {1: 0.0} for p in range(4)})
    for _ in range(4):
        measured.contests.append({0: 0.0, 1: 0.5, 2: 0.0, 3: 0.501})
    assert Search(space, measured).best == 1


def test_settings_with_pairs_of_values_that_no_setting_has_are_named_until_every_pair_was_tried():
    tried = [0, *ONE_PROCESS.neighbours(0)]
    measured = TriedPoints(order=tried, launches={point: {1: speed(point)} for point in tried})
    seen = {pair for point in tried for pair in ONE_PROCESS.pairs(point)}
    assert all(ONE_PROCESS.pairs(point) - seen for point in Search(ONE_PROCESS, measured).unseen_pairs)
    while fresh := Search(ONE_PROCESS, measured).unseen_pairs:
        measured.order += fresh
        measured.launches |= {point: {1: speed(point)} for point in fresh}
    pairs = {pair for point in range(len(CODES)) for pair in ONE_PROCESS.pairs(point)}
    assert {pair for point in measured.order for pair in ONE_PROCESS.pairs(point)} == pairs
    assert len(measured.order) < len(CODES)


@pytest.mark.parametrize(("score", "takes_turns"), [(0.9, True), (-2.0, False)])
def test_after_the_start_only_a_setting_that_may_win_takes_turns(score, takes_turns):
    codes = tuple(product(range(2), range(2)))
    launches = {0: {1: 0.0}, 1: {1: 0.5}, 2: {1: 0.1}, 3: {1: score}}
    measured = TriedPoints(order=[0, 1, 2, 3], launches=launches, contests=[{0: 0.0, 1: 0.5, 2: 0.1}])
    ask = Search(Space(codes, (False, False), (0,) * 4), measured).next()
    assert (3 in ask.contest) == takes_turns
