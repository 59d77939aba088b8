import itertools

from hypothesis import given
from hypothesis import strategies as st

from gpubench.profile.figures.time_intervals import clip, gaps, intersection, total, union

HORIZON = 40
intervals = st.lists(st.tuples(st.integers(0, HORIZON), st.integers(0, HORIZON)), max_size=12)
windows = st.tuples(st.integers(0, HORIZON), st.integers(0, HORIZON)).map(lambda pair: (min(pair), max(pair)))


def moments(spans):
    """The model: the set of unit moments that some interval covers."""
    return {moment for start, end in spans for moment in range(start, end)}


def is_union(spans):
    return all(start < end for start, end in spans) and all(a[1] < b[0] for a, b in itertools.pairwise(spans))


@given(intervals)
def test_union_covers_the_same_moments_once(spans):
    united = union(spans)
    assert is_union(united)
    assert moments(united) == moments(spans)
    assert total(united) == len(moments(spans))


@given(intervals, windows)
def test_clip_keeps_the_moments_inside_the_window(spans, window):
    clipped = clip(spans, window)
    assert is_union(clipped)
    assert moments(clipped) == moments(spans) & moments([window])


@given(intervals, intervals)
def test_intersection_keeps_common_moments(first, second):
    assert moments(intersection(union(first), union(second))) == moments(first) & moments(second)


@given(intervals, windows)
def test_gaps_are_the_rest_of_the_window(spans, window):
    free = gaps(union(spans), window)
    assert is_union(free)
    assert moments(free) == moments([window]) - moments(spans)


@given(intervals, windows)
def test_busy_and_idle_add_up_to_the_window(spans, window):
    assert total(clip(spans, window)) + total(gaps(union(spans), window)) == window[1] - window[0]


def test_touching_intervals_become_one():
    assert union([(5, 9), (0, 5)]) == [(0, 9)]


def test_an_interval_that_ends_before_it_starts_is_empty():
    assert union([(5, 3), (4, 4)]) == []
