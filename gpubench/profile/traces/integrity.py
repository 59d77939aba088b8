"""Checks a trace before its times are summed: what cannot be true, and what is missing."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from gpubench.profile.traces.trace import (
    LAUNCHES,
    PLURALS,
    TWICE,
    UNNUMBERED,
    DeviceKey,
    LaunchCall,
    Operation,
    Range,
    Trace,
)

_Timed = TypeVar("_Timed", Range, LaunchCall, Operation)
_MAY_WORK = (*LAUNCHES, "unnamed")
_FAR_NS = 3_600_000_000_000
_SLACK_NS = 1_000_000
_MOST_COPIED_BYTES = 1 << 40
_MOST_BYTES_PER_NS = 20_000
"""20 TB/s, more than twice the memory bandwidth of any GPU."""
_LEAST_OVERLAP_NS = 1_000


def leave_out_impossible(trace: Trace) -> None:
    """Moves rows to `unread` that cannot be true or cannot be told apart: work that is in the file twice, work without
    a device if other work has one, and work, calls and ranges longer than the capture or an hour away from it.

    If several kernels claim one kernel launch, it is linked to none. Doubtful rows are counted in a message: work that
    begins before its launch (host and device clocks differ), and kernels that overlap on one stream. A copy that moved
    bytes faster than any GPU can gets an unknown size.

    Tools write such rows when the hardware gave no time. The length of the capture is the tool's or, if there are
    ranges, the time from the first to the last event of the host.
    """
    _leave_out_unnumbered(trace)
    _forget_impossible_sizes(trace)
    if not trace.timeline:
        return
    _leave_out_repeated(trace)
    host = [(each.start, each.end) for each in trace.ranges]
    host += [(each.start, each.end) for each in trace.launches.values()]
    starts = sorted(start for start, _ in host) or sorted(each.start for each in trace.operations)
    if not starts:
        return
    longest = trace.capture_ns
    far = max(_FAR_NS, longest or 0)
    middle = starts[len(starts) // 2]
    near = [(start, end) for start, end in host if abs(start - middle) < far] or [(middle, middle)]
    first, last = min(near)[0], max(near)[0]
    work_limit = longest
    if longest is None and trace.ranges:
        work_limit = max(end for _, end in near) - first

    def possible(all_of: Iterable[_Timed], limit: int | None) -> list[_Timed]:
        low, high = first - far, last + far
        most = high - low if limit is None else limit + limit // 100 + _SLACK_NS
        return [
            each for each in all_of if low <= each.start <= high and each.end <= high and each.end - each.start <= most
        ]

    operations = possible(trace.operations, work_limit)
    ranges = possible(trace.ranges, longest)
    if impossible := len(trace.launches) - len(possible(trace.launches.values(), longest)):
        trace.unread["calls longer than the capture or outside of it"] += impossible
        kept = set(possible(trace.launches.values(), longest))
        trace.launches = {key: call for key, call in trace.launches.items() if call in kept}
        operations = [each if each.launch in trace.launches else each._replace(launch=None) for each in operations]
    kinds = Counter(each.kind for each in trace.operations) - Counter(each.kind for each in operations)
    for kind, count in kinds.items():
        trace.unread[f"{PLURALS[kind]} longer than the capture or outside of it"] += count
    if len(ranges) < len(trace.ranges):
        trace.unread["ranges longer than the capture or outside of it"] += len(trace.ranges) - len(ranges)
    trace.operations, trace.ranges = operations, ranges
    _mention_overlaps(trace)
    _mention_early_work(trace)


def _mention_early_work(trace: Trace) -> None:
    early = [
        call.start - each.start
        for each in trace.operations
        if each.launch is not None and (call := trace.launches[each.launch]).start > each.start
    ]
    if early:
        trace.messages.append(
            f"GPU work begins up to {max(early) / 1e3:.3g} us before its launch ({len(early)} of "
            f"{len(trace.operations)} pieces): the clocks of host and GPU differ, and reasons of idle time are wrong "
            "by as much."
        )


def _forget_impossible_sizes(trace: Trace) -> None:
    sizes = [
        each.bytes is not None
        and each.bytes > min(_MOST_COPIED_BYTES, max(1, each.end - each.start) * _MOST_BYTES_PER_NS)
        for each in trace.operations
    ]
    if any(sizes):
        trace.operations = [
            each._replace(bytes=None) if wrong else each for each, wrong in zip(trace.operations, sizes, strict=True)
        ]
        trace.messages.append(
            f"{sum(sizes)} of {sum(each.kind == 'copy' for each in trace.operations)} copies are larger than a card "
            "could copy in their time: their sizes are not used."
        )


def _mention_overlaps(trace: Trace) -> None:
    """Kernels of one stream run one after the other, but a CUDA graph runs its kernels in parallel."""
    ended: dict[tuple[DeviceKey, int | None, int], int] = {}
    overlapping = total = 0
    for each in sorted(trace.operations, key=lambda each: each.start):
        of_graph = each.launch is not None and trace.launches[each.launch].kind == "graph"
        if each.kind != "kernel" or each.stream is None or of_graph:
            continue
        stream = (each.device, each.process, each.stream)
        overlap = min(ended.get(stream, each.start), each.end) - each.start
        overlapping += overlap > max(_LEAST_OVERLAP_NS, (each.end - each.start) // 10)
        total += 1
        ended[stream] = max(ended.get(stream, each.end), each.end)
    if overlapping:
        trace.messages.append(
            f"{overlapping} of {total} kernels begin before the one before them on their stream has ended: their times "
            "or streams are wrong, unless they were launched to overlap (programmatic dependent launch)."
        )


def _leave_out_unnumbered(trace: Trace) -> None:
    """If no row has a device number, there is one device, or the file does not tell."""
    if {number == UNNUMBERED for _, number in trace.devices} == {True, False}:
        for each in trace.operations:
            if each.device[1] == UNNUMBERED:
                trace.unread[f"{PLURALS[each.kind]} without a device"] += 1
        trace.operations = [each for each in trace.operations if each.device[1] != UNNUMBERED]


def _leave_out_repeated(trace: Trace) -> None:
    """Equal work at the same time on one stream is the same work. A launch starts one kernel: if several claim it, the
    file mixes processes that use the same numbers.
    """
    once = trace.operations
    if len({(each.start, each.end, each.stream) for each in once}) < len(once):
        once = list(dict.fromkeys(once))
        for kind, count in (
            Counter(each.kind for each in trace.operations) - Counter(each.kind for each in once)
        ).items():
            trace.unread[f"{PLURALS[kind]} {TWICE}"] += count
    claims = [each.launch for each in once if each.kind == "kernel" and each.launch is not None]
    repeated = Counter(claims) if len(set(claims)) < len(claims) else Counter()
    disputed = {key for key, count in repeated.items() if count > 1 and trace.launches[key].kind == "kernel"}
    if disputed:
        once = [each._replace(launch=None) if each.launch in disputed else each for each in once]
        trace.messages.append(
            f"{len(disputed)} launches of one kernel have several in the file, as if it held the work of processes "
            "that it does not name; none of it is linked, and the figures of a GPU may cover several."
        )
    trace.operations = once


def lost_launches(trace: Trace) -> list[LaunchCall]:
    """Calls whose work is missing from the trace, by start. Empty if work without a number could be theirs, or if no
    device work was collected. A call without a name counts as a launch.

    Calls that are only recorded into a CUDA graph leave no work.
    """
    if not trace.operations:
        return []
    done = {(each.process, each.correlation) for each in trace.operations}
    unnumbered = sum(each.correlation is None for each in trace.operations)
    recording = _graph_captures(trace.launches.values())
    lost = sorted(
        call
        for key, call in trace.launches.items()
        if key not in done
        and call.kind in _MAY_WORK
        and (None, key[1]) not in done
        and not any(start <= call.start < end for start, end in recording.get((call.process, call.thread), ()))
    )
    return lost if len(lost) > unnumbered else []


def _graph_captures(calls: Iterable[LaunchCall]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """When calls were recorded into a CUDA graph instead of being executed, by process and thread."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    began: dict[tuple[int, int], int] = {}
    for call in sorted(each for each in calls if each.kind.startswith("graph capture")):
        thread = (call.process, call.thread)
        if call.kind == "graph capture begins":
            began[thread] = call.start
        elif thread in began:
            found.setdefault(thread, []).append((began.pop(thread), call.start))
    return found
