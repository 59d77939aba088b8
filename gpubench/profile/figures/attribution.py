"""Assigns device work to steps and phases, and chooses whose steps count in a trace of several processes.

The phase is the one open at the launch on the launching thread, else on the main thread of its process: autograd
launches a backward pass from a separate thread, on which nothing is ever pushed.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from gpubench.profile.traces.trace import STEP, LaunchCall, Operation, Range, Trace, TraceError
from gpubench.protocol.profile_job import DOMAIN, PHASES

_TORCH_STEP = "ProfilerStep#"
_CASE = "case:"
_RUN_KERNELS = ("kernel", "graph")
_ROUNDING = 0.01
_PID_BITS = 0xFFFFFF
"""The low bits of a process's number hold its id; tools use the bits above."""


class Spans:
    """Non-overlapping ranges of one thread, for looking up which one is open at a given time."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges = sorted(ranges, key=lambda each: (each.start, -each.end))
        self._starts = [each.start for each in self.ranges]

    def at(self, moment: int) -> int | None:
        """Index of the range open at `moment` (end excluded); None between ranges."""
        index = bisect_right(self._starts, moment) - 1
        return index if index >= 0 and moment < self.ranges[index].end else None


class Place(NamedTuple):
    """The step (index in order of time) and phase (name) that work belongs to; None if there is none."""

    step: int | None
    phase: str | None


@dataclass
class Steps:
    """The steps of one process, their thread, and the phases per thread. `ours`: the phases are from `PHASES`."""

    process: int
    thread: int
    spans: Spans
    phases: dict[int, Spans]
    ours: bool

    @property
    def ranges(self) -> list[Range]:
        return self.spans.ranges

    def place(self, launch: LaunchCall) -> Place:
        """The place of a launch; none for another process, which only ran at the same time."""
        if launch.process != self.process:
            return Place(None, None)
        step = self.spans.at(launch.start)
        for thread in (launch.thread, self.thread):
            spans = self.phases.get(thread)
            index = None if spans is None else spans.at(launch.start)
            if spans is not None and index is not None:
                return Place(step, spans.ranges[index].name)
        return Place(step, None)


def is_step(each: Range, step_name: str | None) -> bool:
    """Whether a range is a step: our own `step`, torch's `ProfilerStep#7`, or one named `step_name` (`train_step` also
    matches `train_step 7`).
    """
    if not each.nested and step_name is None:
        return False
    if step_name is not None:
        return each.name == step_name or (
            each.name.startswith(step_name) and each.name[len(step_name) :].strip(" #:_-/").isdigit()
        )
    if each.domain == DOMAIN:
        return each.name == STEP
    return each.name.startswith(_TORCH_STEP)


class FoundSteps(NamedTuple):
    """Steps by process, and those left out: how many were cut off by the capture, how many were on other threads, and
    which processes have overlapping steps.
    """

    by_process: dict[int, Steps]
    cut_off: int
    elsewhere: int
    overlapping: tuple[str, ...]


def find_steps(trace: Trace, step_name: str | None = None, lost: Sequence[LaunchCall] = ()) -> FoundSteps:
    """Per process, the steps and the phases inside them.

    Our own ranges win over torch's `ProfilerStep#`. Our own warm-up steps, which a trace of a whole run also holds, do
    not count. If several threads have steps, the main thread counts, or the one with most steps. A step is cut off if
    its range never ended, or if from some launch in it on all GPU work is missing (`lost`, by start). If the steps of a
    process overlap, several processes share its id and their steps cannot be told apart.
    """
    candidates = [each for each in trace.ranges if is_step(each, step_name)]
    if step_name is None and any(each.domain == DOMAIN for each in candidates):
        candidates = _steady([each for each in candidates if each.domain == DOMAIN], trace)
    ends = _ends_of_work(trace, lost)
    by_process: defaultdict[int, list[Range]] = defaultdict(list)
    for each in candidates:
        if not each.cut_off and each.end <= ends.get(each.process, each.end):
            by_process[each.process].append(each)
    whole = sum(map(len, by_process.values()))
    mixed = [process for process, ranges in by_process.items() if _overlap(process, ranges, trace)]
    for process in mixed:
        del by_process[process]
    found = {process: _steps_of(trace, process, ranges) for process, ranges in by_process.items()}
    names = tuple(process_name(process, trace) for process in mixed)
    elsewhere = sum(each.thread != found[process].thread for process in found for each in by_process[process])
    return FoundSteps(found, len(candidates) - whole, elsewhere, names)


def _ends_of_work(trace: Trace, lost: Sequence[LaunchCall]) -> dict[int, int]:
    """Per process, the first kernel launch from which on no work is in the trace, if there was some before.

    Later work without a launch shows that the capture went on.
    """
    if not lost:
        return {}
    last: dict[int, int] = {}
    went_on = max((each.start for each in trace.operations if each.launch is None), default=0)
    for each in trace.operations:
        launch = None if each.launch is None else trace.launches.get(each.launch)
        if launch is not None and launch.kind in _RUN_KERNELS:
            last[launch.process] = max(launch.start, last.get(launch.process, launch.start))
    ends: dict[int, int] = {}
    for call in lost:
        if call.kind in _RUN_KERNELS and call.start > max(went_on, last.get(call.process, call.start)):
            ends.setdefault(call.process, call.start)
    return ends


def _overlap(process: int, steps: Sequence[Range], trace: Trace) -> bool:
    """Whether two steps of one thread overlap by more than the rounding of clocks."""
    thread = _step_thread(trace, process, steps)
    return any(
        before.end - after.start > _ROUNDING * min(before.end - before.start, after.end - after.start)
        for before, after in pairwise(_outermost([each for each in steps if each.thread == thread]))
        if before.nested and after.nested
    )


def _step_thread(trace: Trace, process: int, candidates: Sequence[Range]) -> int:
    counts = Counter(each.thread for each in candidates)
    main = trace.main_threads.get(process)
    return main if main is not None and main in counts else counts.most_common(1)[0][0]


def _steady(steps: Sequence[Range], trace: Trace) -> list[Range]:
    """Steps inside `steady` if their process has that range, else those outside `warmup`."""
    around = {
        name: [each for each in trace.ranges if each.domain == DOMAIN and each.name == name]
        for name in ("steady", "warmup")
    }
    with_steady = {each.process for each in around["steady"]}

    def lies_in(step: Range, name: str) -> bool:
        return any(each.process == step.process and each.start <= step.start < each.end for each in around[name])

    return [
        step
        for step in steps
        if (lies_in(step, "steady") if step.process in with_steady else not lies_in(step, "warmup"))
    ]


def _steps_of(trace: Trace, process: int, candidates: Sequence[Range]) -> Steps:
    thread = _step_thread(trace, process, candidates)
    spans = Spans(_outermost([each for each in candidates if each.thread == thread]))
    own = [each for each in trace.ranges if each.process == process]
    ours = any(each.domain == DOMAIN and each.name in PHASES for each in own)
    domain = DOMAIN if ours else spans.ranges[0].domain
    inside: defaultdict[int, list[Range]] = defaultdict(list)
    for each in own:
        if each.domain == domain and _may_be_phase(each, spans, thread):
            inside[each.thread].append(each)
    phases = {key: Spans(_outermost(ranges)) for key, ranges in inside.items()}
    return Steps(process, thread, spans, phases, ours)


def _may_be_phase(each: Range, steps: Spans, step_thread: int) -> bool:
    """Our own phases by name, on any thread; else any range within a step on the steps' thread."""
    if each.domain == DOMAIN:
        return each.name in PHASES
    if each.thread != step_thread:
        return False
    index = steps.at(each.start)
    if index is None:
        return False
    step = steps.ranges[index]
    return each.end <= step.end and (each.start, each.end, each.name) != (step.start, step.end, step.name)


def _outermost(ranges: Sequence[Range]) -> list[Range]:
    """Ranges that are inside no other range in the list. Neighbours that overlap by a rounded nanosecond both stay."""
    result: list[Range] = []
    for each in sorted(ranges, key=lambda item: (item.start, -item.end)):
        if not result or each.end > result[-1].end:
            result.append(each)
    return result


def process_id(process: int, trace: Trace) -> int | None:
    """The operating system's id of a process in a trace; None if the trace does not say."""
    return trace.process_ids.get(process, process & _PID_BITS)


def process_name(process: int, trace: Trace) -> str:
    """The process's id, with its rank or machine if the trace has several."""
    number = process_id(process, trace)
    return trace.process_names.get(process, "without an id" if number is None else str(number))


def main_steps(steps: Mapping[int, Steps], trace: Trace, process: int | None = None) -> Steps | None:
    """The steps that represent the whole trace: those of `process` (an id; TraceError if it has none), else of the
    process with the most, the first if equal. None if there are no steps.
    """
    if process is not None:
        able = [each for number, each in steps.items() if process_id(number, trace) == process]
        if len(able) > 1:
            names = ", ".join(process_name(each.process, trace) for each in able)
            raise TraceError(f"{len(able)} processes of {trace.source} have the id {process}: {names}.")
        found = able[0] if able else None
        if found is None:
            known = ", ".join(process_name(number, trace) for number in steps) or "none"
            raise TraceError(f"Process {process} has no steps in {trace.source}.", hint=f"With steps: {known}.")
        return found
    if not steps:
        return None
    first = {number: min(each.start for each in own.ranges) for number, own in steps.items()}
    return steps[min(steps, key=lambda number: (-len(steps[number].ranges), first[number], number))]


def steps_of_device(operations: Sequence[Operation], steps: Mapping[int, Steps], main: Steps | None) -> Steps | None:
    """The main steps if their process used this device, else those of the process with the most work on it."""
    counts = Counter(
        operation.process for operation in operations if operation.process is not None and operation.process in steps
    )
    if main is not None and main.process in counts:
        return main
    return steps[max(counts, key=lambda process: (counts[process], -process))] if counts else None


def left_out(steps: Mapping[int, Steps], used: Sequence[Steps], trace: Trace) -> tuple[str, ...]:
    """Processes whose steps are in no figure, by id and, for gpubench's own, the case they ran."""
    others = steps.keys() - {each.process for each in used}
    cases = {
        each.process: f" {each.name}"
        for each in trace.ranges
        if each.process in others and each.domain == DOMAIN and each.name.startswith(_CASE)
    }
    return tuple(f"{process_name(number, trace)}{cases.get(number, '')}" for number in sorted(others))
