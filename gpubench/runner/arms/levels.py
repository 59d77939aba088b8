"""How the arms of a case are interleaved: in alternating blocks of one process, or in launches that take turns.

Blocks are the stronger form. They need arms that differ only in what one process can hold twice and switch between.
What cannot be switched back, or goes on working while the other arm is measured, needs separate processes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from gpubench.core.errors import UsageError
from gpubench.runner.arms.arm import Arm
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import SPECS, Case

Level = Literal["block", "launch"]


def levels_of(arms: Sequence[Arm], planned: Sequence[PlannedCase], asked: Level | None = None) -> dict[int, Level]:
    """The level of every case that will be measured, by its index. UsageError if blocks are asked but impossible."""
    levels: dict[int, Level] = {}
    for entry in planned:
        if entry.skip_status is not None or entry.kind != "measure":
            continue
        reason = why_not_blocks({arm.name: arm.case(entry.case) for arm in arms})
        if asked == "block" and reason is not None:
            raise UsageError(
                f"case {entry.label!r} cannot alternate in one process: {reason}",
                hint="Without --interleave the arms take turns in separate launches.",
            )
        levels[entry.index] = "launch" if asked == "launch" or reason is not None else "block"
    return levels


def why_not_blocks(cases: Mapping[str, Case]) -> str | None:
    """Why these arms of one case cannot share a process; None if they can. The first arm is the reference."""
    first, *others = cases.values()
    differ = [name for name in SPECS if any(getattr(other, name) != getattr(first, name) for other in others)]
    apart = [name for name in differ if not SPECS[name].in_process]
    if apart:
        return f"{_listed(apart)} belong{'s' if len(apart) == 1 else ''} to a process as a whole"
    everything = [first, *others]
    if "cudnn_benchmark" in differ and any(case.device_type == "cuda" for case in everything):
        return "torch keeps the algorithms that it chose for the whole process, with cudnn_benchmark and without"
    if any(case.data_path == "loader" for case in everything):
        return "a loader's workers go on fetching while the other arm is measured"
    if any(case.batch_size == "max" for case in everything):
        return "the largest batch is searched for in a process that has the device to itself"
    return None


def level_of_run(levels: Mapping[int, Level]) -> Level:
    """The stronger level that any case has: what a run's head says."""
    return "block" if "block" in levels.values() else "launch"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(
        "the interpreter" if name == "python" else "the environment" if name == "env" else name for name in names
    )
