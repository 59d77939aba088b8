"""Measures how long the device itself works on a step, in an extra pass after the measured steps.

A spinning kernel holds the device while the host launches a whole group of steps behind it, so that the device then
runs them without waiting for launches (like nvbench's "batch" measurement). The time between events around them is the
device's busy time; in the rest of a measured step the device was idle.
"""

from typing import NamedTuple

from gpubench.worker.accelerator import Accelerator
from gpubench.worker.timing.timers import Step

NUM_REPEATS = 5
_LONGEST_SPIN_S = 1.0
_CALIBRATION_CYCLES = 5_000_000
_MS = 1e-3


class Busy(NamedTuple):
    """Seconds per step of the device's own work, or None and the `reason`."""

    step_s: float | None
    reason: str | None = None


def device_busy(step: Step, group: int, enqueue_s: float, accelerator: Accelerator) -> Busy:
    """The median over five groups. `enqueue_s` is the time the host needs to launch one group."""
    try:
        cycles_per_s = _calibrate(accelerator)
    except NotImplementedError as error:
        return Busy(None, str(error))
    spin_s = 2 * enqueue_s + _MS
    found: list[float] = []
    while len(found) < NUM_REPEATS:
        if spin_s > _LONGEST_SPIN_S:
            return Busy(None, "a step waits for the device itself, or has more launches than the device's queue takes")
        busy_s = _held_back(step, group, round(spin_s * cycles_per_s), accelerator)
        if busy_s is None:
            spin_s *= 2
        else:
            found.append(busy_s / group)
    return Busy(sorted(found)[NUM_REPEATS // 2])


def _calibrate(accelerator: Accelerator) -> float:
    """Cycles of the spinning kernel per second."""
    start, end = accelerator.event(), accelerator.event()
    for cycles in (1, _CALIBRATION_CYCLES):  # the first call loads the kernel
        accelerator.synchronize()
        start.record()
        accelerator.spin(cycles)
        end.record()
        accelerator.synchronize()
    return _CALIBRATION_CYCLES / (float(start.elapsed_time(end)) * _MS)


def _held_back(step: Step, group: int, cycles: int, accelerator: Accelerator) -> float | None:
    """Seconds of device time for one group; None if the device was released before all of it was launched.

    That always happens if a step waits for the device in its middle (a copy from pageable memory does).
    """
    start, end = accelerator.event(), accelerator.event()
    accelerator.synchronize()
    accelerator.spin(cycles)
    start.record()
    for _ in range(group):
        step()
    end.record()
    was_held = not start.query()
    accelerator.synchronize()
    return float(start.elapsed_time(end)) * _MS if was_held else None
