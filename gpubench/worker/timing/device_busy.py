"""How long the device itself works on a step: a pass of its own, after the measured ones.

A kernel that only spins holds the device while the host hands over a whole group of steps behind it, so that the device
then runs them without ever waiting for a launch (nvbench's "batch" measurement does the same). Event to event around
them is the device's busy time; what a measured step takes beyond it, the device stood idle.
"""

from typing import Any, NamedTuple

from gpubench.worker.timing.timers import Step

NUM_REPEATS = 5
_LONGEST_SPIN_S = 1.0
_CALIBRATION_CYCLES = 5_000_000
_MS = 1e-3


class Busy(NamedTuple):
    """Seconds per step of the device's own work, or None and the `reason`."""

    step_s: float | None
    reason: str | None = None


def device_busy(step: Step, group: int, enqueue_s: float, cuda: Any, device: Any) -> Busy:
    """Median over five groups. `enqueue_s` is what the host needs to hand over one group.

    `cuda` is `torch.cuda`, or something with its `Event`, `synchronize` and `_sleep` (spin for so many cycles).
    """
    spin = getattr(cuda, "_sleep", None)
    if spin is None:
        return Busy(None, "this torch has no kernel to hold the device with")
    cycles_per_s = _calibrate(spin, cuda, device)
    spin_s = 2 * enqueue_s + _MS
    found: list[float] = []
    while len(found) < NUM_REPEATS:
        if spin_s > _LONGEST_SPIN_S:
            return Busy(None, "a step waits for the device itself, or has more launches than the device's queue takes")
        busy_s = _held_back(step, group, round(spin_s * cycles_per_s), cuda, device)
        if busy_s is None:
            spin_s *= 2
        else:
            found.append(busy_s / group)
    return Busy(sorted(found)[NUM_REPEATS // 2])


def _calibrate(spin: Any, cuda: Any, device: Any) -> float:
    """Cycles of the spinning kernel per second."""
    for cycles in (1, _CALIBRATION_CYCLES):  # the first call loads the kernel
        start, end = _events(cuda)
        cuda.synchronize(device)
        start.record()
        spin(cycles)
        end.record()
        cuda.synchronize(device)
    return _CALIBRATION_CYCLES / (float(start.elapsed_time(end)) * _MS)


def _held_back(step: Step, group: int, cycles: int, cuda: Any, device: Any) -> float | None:
    """Seconds of device time for one group; None if the device was let go before all of it was handed over.

    A step that waits for the device in its middle (a copy from pageable memory does) always ends like that.
    """
    start, end = _events(cuda)
    cuda.synchronize(device)
    cuda._sleep(cycles)  # noqa: SLF001 - there is no public one
    start.record()
    for _ in range(group):
        step()
    end.record()
    was_held = not start.query()
    cuda.synchronize(device)
    return float(start.elapsed_time(end)) * _MS if was_held else None


def _events(cuda: Any) -> tuple[Any, Any]:
    return cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
