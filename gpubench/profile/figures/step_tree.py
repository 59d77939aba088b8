"""The time of a step as a tree: phases, the operators that they call, and the kernels that these launch.

Every nanosecond of a step belongs to one node: of the host's thread on a CPU, of the device on a GPU, including its
idle time. So a slower step's tree contains all of the lost time.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple

from gpubench.profile.figures.attribution import Steps, find_steps, main_steps
from gpubench.profile.traces.trace import LaunchCall, TensorFact, Trace, TraceError
from gpubench.protocol.profile_job import DOMAIN, PHASES

NodeKind = Literal["host", "kernel", "copy", "idle"]
OUTSIDE = "outside of the phases"
IDLE = "idle"
_IMPLIED = (
    ("autograd::engine", "backward"),
    ("Optimizer.", "optimizer"),
    ("enumerate(DataLoader)", "data"),
)
"""The phase of an operator of torch, by the beginning of its name, in steps without marked phases."""
_NOT_WITHIN = ("ProfilerStep#",)


@dataclass
class Node:
    """A phase, operator or kernel at one place of a step. `own_ns`, the time without children, and `calls` are per
    step, by window. `inputs` are known if a window recorded shapes.
    """

    name: str
    kind: NodeKind = "host"
    own_ns: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    calls: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    children: "dict[tuple[str, int], Node]" = field(default_factory=dict)
    inputs: tuple[TensorFact, ...] = ()

    def child(self, name: str, number: int, kind: NodeKind = "host") -> "Node":
        """The `number`-th child of this name in a step; made if missing."""
        return self.children.setdefault((name, number), Node(name, kind))

    def total_ns(self, window: int) -> float:
        return self.own_ns[window] + sum(each.total_ns(window) for each in self.children.values())

    def num_events(self, window: int) -> float:
        """Profiler events per step inside the node: each slowed the step down a little."""
        return sum(each.calls[window] + each.num_events(window) for each in self.children.values())

    def without_cost(self, window: int, event_ns: float) -> None:
        """Subtracts the cost of the profiler's events, which falls between an event and the one around it."""
        inside = sum(each.calls[window] for each in self.children.values() if each.kind == "host")
        self.own_ns[window] = max(0.0, self.own_ns[window] - event_ns * inside)
        for each in self.children.values():
            each.without_cost(window, event_ns)


class _Span(NamedTuple):
    """`parent`: index of the enclosing span in its thread, -1 for none."""

    name: str
    start: int
    end: int
    parent: int
    phase: str | None
    inputs: tuple[TensorFact, ...]


class _Thread:
    """The ranges and operators of a host thread, each with its enclosing span."""

    def __init__(self, spans: Sequence[tuple[str, int, int, str | None, tuple[TensorFact, ...]]]) -> None:
        self.spans: list[_Span] = []
        open_: list[int] = []
        for name, start, end, phase, inputs in sorted(spans, key=lambda each: (each[1], -each[2])):
            while open_ and self.spans[open_[-1]].end <= start:
                open_.pop()
            self.spans.append(_Span(name, start, end, open_[-1] if open_ else -1, phase, inputs))
            open_.append(len(self.spans) - 1)
        self._starts = [each.start for each in self.spans]

    def between(self, start: int, end: int) -> range:
        return range(bisect_right(self._starts, start - 1), bisect_right(self._starts, end - 1))

    def around(self, moment: int) -> list[int]:
        """The spans open at a time, outermost first."""
        at = bisect_right(self._starts, moment) - 1
        found = []
        while at >= 0:
            if self.spans[at].end > moment:
                found.append(at)
            at = self.spans[at].parent
        return found[::-1]


def add_window(root: Node, trace: Trace, window: int, waits_s: Sequence[float] = ()) -> int:
    """Adds the steps of a trace, read with operators, to the tree as one window; returns their number.

    `waits_s`: seconds per step that the host's thread waited for a CPU used by other programs. Such a wait falls into
    some operator, so it is subtracted from the operators that are slowest compared with the same ones in other steps.
    TraceError if the trace has no steps.
    """
    steps = main_steps(find_steps(trace).by_process, trace)
    if steps is None:
        raise TraceError(f"{trace.source} marks no steps.")
    threads = _threads(trace, steps)
    if any(each.process == steps.process for each in trace.operations):
        _add_device(root, trace, steps, threads, window)
    else:
        _add_host(root, steps, threads.get(steps.thread, _Thread(())), window, waits_s)
    return len(steps.ranges)


def add_inputs(root: Node, trace: Trace) -> None:
    """Adds each operator's inputs, from a trace that recorded shapes. Ignores its times."""
    steps = main_steps(find_steps(trace).by_process, trace)
    if steps is None:
        raise TraceError(f"{trace.source} marks no steps.")
    for each in _threads(trace, steps).values():
        for _, node, span in _nodes_of_step(root, each, steps.ranges[-1].start, steps.ranges[-1].end):
            if span.inputs:
                node.inputs = span.inputs


def _threads(trace: Trace, steps: Steps) -> dict[int, _Thread]:
    spans: defaultdict[int, list[tuple[str, int, int, str | None, tuple[TensorFact, ...]]]] = defaultdict(list)
    inside = {(each.start, each.end) for each in steps.ranges}
    for each in trace.ranges:
        if each.process != steps.process or (each.start, each.end) in inside or each.name.startswith(_NOT_WITHIN):
            continue
        phase = each.name if each.domain == DOMAIN and each.name in PHASES else None
        spans[each.thread].append((each.name, each.start, each.end, phase, ()))
    for call in trace.operators:
        if call.process == steps.process:
            spans[call.thread].append((call.name, call.start, call.end, None, call.inputs))
    return {thread: _Thread(found) for thread, found in spans.items()}


def _phase_of(name: str) -> str:
    return next((phase for start, phase in _IMPLIED if name.startswith(start)), OUTSIDE)


def _nodes_of_step(root: Node, thread: _Thread, start: int, end: int) -> Iterator[tuple[int, Node, _Span]]:
    """Every span of a step with its node, in order. Spans outside of phases get an implied one."""
    numbers: Counter[tuple[int, str]] = Counter()
    nodes: dict[int, Node] = {}
    for at in thread.between(start, end):
        span = thread.spans[at]
        if span.phase is not None:
            nodes[at] = root.child(span.phase, 0)
        else:
            parent = nodes.get(span.parent) or root.child(_phase_of(span.name), 0)
            number = numbers[id(parent), span.name]
            numbers[id(parent), span.name] += 1
            nodes[at] = parent.child(span.name, number)
        yield at, nodes[at], span


def _add_host(root: Node, steps: Steps, thread: _Thread, window: int, waits_s: Sequence[float]) -> None:
    share = 1 / len(steps.ranges)
    outside = root.child(OUTSIDE, 0)
    own_ns: defaultdict[int, list[float]] = defaultdict(lambda: [0.0] * len(steps.ranges))
    known = {id(outside): outside}
    for number, step in enumerate(steps.ranges):
        nodes: dict[int, Node] = {}
        own_ns[id(outside)][number] += step.end - step.start
        for at, node, span in _nodes_of_step(root, thread, step.start, step.end):
            nodes[at] = known[id(node)] = node
            length = min(span.end, step.end) - span.start
            own_ns[id(node)][number] += length
            own_ns[id(nodes.get(span.parent) or outside)][number] -= length
            node.calls[window] += share
    if len(waits_s) == len(steps.ranges):
        _take_out_waits(own_ns, waits_s)
    for key, node in known.items():
        node.own_ns[window] += sum(own_ns[key]) * share


def _take_out_waits(own_ns: dict[int, list[float]], waits_s: Sequence[float]) -> None:
    usual_ns = {key: median(times) for key, times in own_ns.items()}
    for step, wait_s in enumerate(waits_s):
        left_ns = wait_s * 1e9
        for key in sorted(own_ns, key=lambda key: usual_ns[key] - own_ns[key][step]):
            taken_ns = min(left_ns, own_ns[key][step] - usual_ns[key])
            if taken_ns <= 0:
                break
            own_ns[key][step] -= taken_ns
            left_ns -= taken_ns


def _add_device(root: Node, trace: Trace, steps: Steps, threads: dict[int, _Thread], window: int) -> None:
    """Device time belongs to the earliest-started work that is running; idle time to the phase that ended it."""
    share = 1 / len(steps.ranges)
    work = sorted((each for each in trace.operations if each.process == steps.process), key=lambda each: each.start)
    busy_until = steps.ranges[0].start
    numbers: Counter[tuple[int, int | None, str]] = Counter()
    nodes: dict[tuple[int, int], Node] = {}
    for each in work:
        launch = None if each.launch is None else trace.launches.get(each.launch)
        place = None if launch is None else steps.place(launch)
        if place is None or place.step is None or launch is None:
            continue
        phase = root.child(place.phase or OUTSIDE, 0)
        parent = _caller(phase, launch, threads, numbers, nodes, place.step)
        number = numbers[id(parent), place.step, each.name]
        numbers[id(parent), place.step, each.name] += 1
        node = parent.child(each.name, number, "copy" if each.kind == "copy" else "kernel")
        node.calls[window] += share
        node.own_ns[window] += max(0, each.end - max(each.start, busy_until)) * share
        idle = root.child(IDLE, 0, "idle").child(phase.name, 0, "idle")
        idle.own_ns[window] += max(0, each.start - busy_until) * share
        busy_until = max(busy_until, each.end)


def _caller(
    phase: Node,
    launch: LaunchCall,
    threads: dict[int, _Thread],
    numbers: Counter[tuple[int, int | None, str]],
    nodes: dict[tuple[int, int], Node],
    step: int,
) -> Node:
    """The node of the operator that launched the work, within its phase."""
    thread, node = threads.get(launch.thread), phase
    if thread is None:
        return node
    for at in thread.around(launch.start):
        span = thread.spans[at]
        if span.phase is not None:
            continue
        key = (launch.thread, at)
        if key not in nodes:
            number = numbers[id(node), step, span.name]
            numbers[id(node), step, span.name] += 1
            nodes[key] = node.child(span.name, number)
        node = nodes[key]
    return node
