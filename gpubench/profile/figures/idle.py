"""Why a device was idle, from what the host did meanwhile."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from gpubench.profile.figures.attribution import Steps
from gpubench.profile.figures.summary_model import Bound, IdleReasons
from gpubench.profile.figures.time_intervals import Interval, clip, intersection, total, union
from gpubench.profile.traces.trace import Key, LaunchCall, Operation
from gpubench.protocol.profile_job import DOMAIN, PHASES

BUSY_ENOUGH = 0.10
"""Below this idle share the device itself is the limit."""
_MENTIONED = 0.10

_LONGEST_LATENCY_NS = 10_000_000
"""Work starts on an idle device some microseconds after its launch, milliseconds at most."""


def reasons(
    free: Sequence[Interval],
    operations: Sequence[Operation],
    launches: dict[Key, LaunchCall],
    lost: Sequence[LaunchCall],
    input_time: Sequence[Interval],
    window_ns: int,
) -> IdleReasons:
    """Shares of the window by reason, for its idle intervals `free`.

    A gap is the host's if the work that ended it was launched after the gap began (or if no work ended it: the host
    launched nothing more); the part of it in `input_time` counts as input. If the launch came before the gap, the work
    waited for other work. Work that begins long after its launch call has returned, on an idle device, was not held up
    by the host (clocks that differ look like this): the rest of its gap is unknown.

    A gap is unknown if the trace lacks the launch of the work that ended it, or lacks work launched between the work
    before and the work after the gap. `lost` are the launches of missing work, by start.
    """
    launched: dict[int, int | None] = {}  # start of work to its launch; the earliest if several start together
    issued: dict[int, int] = {}  # the same to the end of the last of these calls
    for operation in operations:
        launch = None if operation.launch is None else launches.get(operation.launch)
        moments = [each for each in (launch and launch.start, launched.get(operation.start)) if each is not None]
        launched[operation.start] = min(moments, default=None)
        if launch is not None:
            issued[operation.start] = max(launch.start, launch.end, issued.get(operation.start, launch.start))
    lost_at = [call.start for call in lost]
    starts = sorted(launched)
    at = missing = unknown_ns = 0
    late = []
    for begin, end in free:
        while at < len(starts) and starts[at] < end:
            moment = launched[starts[at]]
            if moment is not None:
                missing = max(missing, bisect_right(lost_at, moment))
            at += 1
        after = launched.get(end)
        if (end in launched and after is None) or (
            missing < len(lost_at) and (after is None or lost_at[missing] < after)
        ):
            unknown_ns += end - begin
        elif after is None or after >= begin:
            ready = end if after is None or end - issued[end] <= _LONGEST_LATENCY_NS else issued[end]
            late.append((begin, ready))
            unknown_ns += end - ready
    host_ns = total(late)
    input_ns = total(intersection(late, input_time))
    return IdleReasons(
        launch=(host_ns - input_ns) / window_ns,
        input=input_ns / window_ns,
        dependency=(total(free) - host_ns - unknown_ns) / window_ns,
        unknown=unknown_ns / window_ns,
    )


def input_time(steps: Steps | None, window: Interval, *, pageable: bool) -> list[Interval]:
    """When the host fetched input: phase `data`, and `h2d` if pageable memory makes transfers block the host."""
    if steps is None:
        return []
    spans = steps.phases.get(steps.thread)
    waiting = []
    for each in () if spans is None else spans.ranges:
        if each.domain == DOMAIN and each.name in PHASES:
            fetches = each.name == "data" or (pageable and each.name == "h2d")
        else:
            fetches = "dataloader" in each.name.lower()
        if fetches:
            waiting.append((each.start, each.end))
    return clip(waiting, window)


def bound_of(idle: float, kernels: float, copies: float, why: IdleReasons | None) -> Bound | None:
    """What limits the step, by shares of its time: `copies` is the time of copies while no kernel ran, `kernels` the
    rest of the busy time. None if most of the idle time has no known reason.
    """
    if copies > max(idle, kernels):
        return "copy"
    if idle < BUSY_ENOUGH:
        return "gpu"
    if why is None:
        return None
    shares: dict[Bound | None, float] = {
        "launch": why.launch,
        "input": why.input,
        "dependency": why.dependency,
        None: why.unknown,
    }
    return max(shares, key=lambda each: shares[each])


_STATEMENTS: dict[Bound | None, str] = {
    "gpu": "GPU-bound: busy {busy:.0%} of the time; a step gets shorter only if its GPU work does.",
    "copy": "copy-bound: copies take {copies:.0%} of the time while no kernel runs, kernels {kernels:.0%}.",
    "launch": "launch-bound: idle {idle:.0%} of the time, {launch:.0%} because the host had not launched the next work "
    "yet.",
    "input": "input-bound: idle {idle:.0%} of the time, {input:.0%} while the host fetched the next batch.",
    "dependency": "idle {idle:.0%} of the time, {dependency:.0%} with work launched that waited for other work or for "
    "the host's synchronisation.",
    None: "idle {idle:.0%} of the time; the trace does not tell why.",
}


def statement(bound: Bound | None, idle: float, kernels: float, copies: float, why: IdleReasons | None) -> str:
    """The limit in one sentence."""
    shares = {} if why is None else why.model_dump()
    said = _STATEMENTS[bound].format(busy=1 - idle, idle=idle, kernels=kernels, copies=copies, **shares)
    if bound == "gpu" and copies >= _MENTIONED:
        return f"{said[:-1]}; copies take {copies:.0%} while no kernel runs."
    return said


def united(operations: Iterable[Operation]) -> list[Interval]:
    return union((operation.start, operation.end) for operation in operations)
