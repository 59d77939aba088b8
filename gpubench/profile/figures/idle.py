"""Why a device was idle: what the host was doing meanwhile."""

from collections.abc import Iterable, Sequence

from gpubench.profile.figures.attribution import Steps
from gpubench.profile.figures.summary_model import Bound, IdleReasons
from gpubench.profile.figures.time_intervals import Interval, clip, intersection, total, union
from gpubench.profile.traces.trace import LaunchCall, Operation
from gpubench.protocol.profile_job import DOMAIN, PHASES

BUSY_ENOUGH = 0.10
"""Below this idle share a device is called the limit itself."""


def reasons(
    free: Sequence[Interval],
    operations: Iterable[Operation],
    launches: dict[int, LaunchCall],
    input_time: Sequence[Interval],
    window_ns: int,
) -> IdleReasons:
    """Shares of the window by reason, for its idle stretches `free`.

    A gap belongs to the host if the work that ended it was launched after the gap had begun (a gap that nothing ended:
    the host had nothing more to launch); that part of it in which the host was in `input_time` is input. A launch that
    had happened before means that the work waited for other work.
    """
    launched: dict[int, int] = {}  # start of work -> when its launch began; the earliest if several start together
    for operation in operations:
        launch = None if operation.launch is None else launches.get(operation.launch)
        if launch is not None:
            launched[operation.start] = min(launch.start, launched.get(operation.start, launch.start))
    late = [gap for gap in free if launched.get(gap[1], gap[0]) >= gap[0]]
    host_ns = total(late)
    input_ns = total(intersection(late, input_time))
    dependency_ns = total(free) - host_ns
    return IdleReasons(
        launch=(host_ns - input_ns) / window_ns, input=input_ns / window_ns, dependency=dependency_ns / window_ns
    )


def input_time(steps: Steps | None, window: Interval, *, pageable: bool) -> list[Interval]:
    """When the host fetched input: phase `data`, and `h2d` where pageable memory makes a transfer block the host."""
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


def bound_of(idle: float, why: IdleReasons | None) -> Bound | None:
    """What limits the step; None where launches are unknown, so that gaps cannot be explained."""
    if idle < BUSY_ENOUGH:
        return "gpu"
    if why is None:
        return None
    shares: dict[Bound, float] = {"launch": why.launch, "input": why.input, "dependency": why.dependency}
    return max(shares, key=lambda each: shares[each])


_STATEMENTS: dict[Bound | None, str] = {
    "gpu": "GPU-bound: busy {busy:.0%} of the time; a step gets shorter only if its GPU work does.",
    "launch": "launch-bound: idle {idle:.0%} of the time, {launch:.0%} because the host had not launched the next work "
    "yet.",
    "input": "input-bound: idle {idle:.0%} of the time, {input:.0%} while the host fetched the next batch.",
    "dependency": "idle {idle:.0%} of the time, {dependency:.0%} with work launched that waited for other work or for "
    "the host's synchronisation.",
    None: "idle {idle:.0%} of the time; the trace does not tell why.",
}


def statement(bound: Bound | None, idle: float, why: IdleReasons | None) -> str:
    """One sentence for the screen."""
    shares = {} if why is None else why.model_dump()
    return _STATEMENTS[bound].format(busy=1 - idle, idle=idle, **shares)


def united(operations: Iterable[Operation]) -> list[Interval]:
    return union((operation.start, operation.end) for operation in operations)
