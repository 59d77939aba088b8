"""Whose steps a profile is about: a trace may hold several processes, of one program or of one run after another."""

from collections import Counter
from collections.abc import Mapping, Sequence

from gpubench.profile.figures.attribution import Steps
from gpubench.profile.traces.trace import DOMAIN, Operation, Trace, TraceError

_CASE = "case:"
_PID_BITS = 0xFFFFFF
"""Below them a process's number holds its id, whatever the tool puts above."""


def process_id(process: int) -> int:
    """What the operating system calls a process of a trace."""
    return process & _PID_BITS


def main_steps(steps: Mapping[int, Steps], trace: Trace, process: int | None = None) -> Steps | None:
    """The steps that stand for the whole trace: those of `process` (an id; TraceError if it has none), else of the
    process with most of them, the first of equals. None where there are none.
    """
    if process is not None:
        found = next((each for number, each in steps.items() if process_id(number) == process), None)
        if found is None:
            known = ", ".join(str(process_id(number)) for number in steps) or "none"
            raise TraceError(f"Process {process} has no steps in {trace.source}.", hint=f"With steps: {known}.")
        return found
    if not steps:
        return None
    first = {each.process: each.start for each in reversed(trace.ranges)}
    return steps[min(steps, key=lambda number: (-len(steps[number].ranges), first.get(number, 0)))]


def steps_of_device(operations: Sequence[Operation], steps: Mapping[int, Steps], main: Steps | None) -> Steps | None:
    """The main steps if their process used this device, else those of the process that gave it most work."""
    counts = Counter(operation.process for operation in operations if operation.process in steps)
    if main is not None and main.process in counts:
        return main
    return steps[max(counts, key=lambda process: (counts[process], -process))] if counts else None


def left_out(steps: Mapping[int, Steps], used: Sequence[Steps], trace: Trace) -> tuple[str, ...]:
    """Processes whose steps no figure is about, by id and, for those of gpubench, the case that they ran."""
    others = steps.keys() - {each.process for each in used}
    cases = {
        each.process: f" {each.name}"
        for each in trace.ranges
        if each.process in others and each.domain == DOMAIN and each.name.startswith(_CASE)
    }
    return tuple(f"{process_id(number)}{cases.get(number, '')}" for number in sorted(others))
