"""Sets of half-open intervals of integer nanoseconds, as sorted lists of disjoint `(start, end)` with start < end.

Every share of time in a profile comes from these: GPU work is united over streams, never summed. Functions accept
intervals in any order, overlapping or empty (one that ends before it starts is empty), unless they ask for a union; all
of them return a union.
"""

from collections.abc import Iterable, Sequence

Interval = tuple[int, int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Merges overlapping and touching intervals. O(n log n)."""
    result: list[Interval] = []
    last_start = last_end = 0
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if result and start <= last_end:
            if end > last_end:
                last_end = end
                result[-1] = (last_start, end)
        else:
            last_start, last_end = start, end
            result.append((start, end))
    return result


def clip(intervals: Iterable[Interval], window: Interval) -> list[Interval]:
    """The part of the union that lies inside `window`."""
    low, high = window
    return [(max(start, low), min(end, high)) for start, end in union(intervals) if max(start, low) < min(end, high)]


def total(united: Iterable[Interval]) -> int:
    """Length in ns of a union."""
    return sum(end - start for start, end in united)


def intersection(first: Sequence[Interval], second: Sequence[Interval]) -> list[Interval]:
    """The intersection of two unions. O(n + m)."""
    result: list[Interval] = []
    i = j = 0
    while i < len(first) and j < len(second):
        start = max(first[i][0], second[j][0])
        end = min(first[i][1], second[j][1])
        if start < end:
            result.append((start, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return result


def gaps(united: Sequence[Interval], window: Interval) -> list[Interval]:
    """The parts of `window` outside a union, including those at its edges."""
    low, high = window
    result: list[Interval] = []
    at = low
    for start, end in united:
        if end <= low:
            continue
        if start >= high:
            break
        if start > at:
            result.append((at, start))
        at = max(at, end)
    if at < high:
        result.append((at, high))
    return result
