"""How fast steps are right after a rest, in an extra pass: before the power limit makes the card lower its clocks.

A power limit holds over tens of milliseconds, so a long measurement shows what a card sustains, and its first moments
more. Which of the two a figure is makes a difference of a tenth on a large card.
"""

import math
import time
from itertools import pairwise
from typing import NamedTuple

from gpubench.worker.accelerator import Accelerator
from gpubench.worker.timing.timers import Step

REST_S = 1.0
PART_S = 0.01
NUM_PARTS = 10
"""The clock needs some of them to rise."""

_MS = 1e-3

Told = tuple[dict[str, float | None], dict[str, str]]


class Burst(NamedTuple):
    """Seconds per step of the fastest part, and the edges of all parts on `time.monotonic()`."""

    step_s: float
    start_s: float
    end_s: float


def burst(step: Step, step_s: float, accelerator: Accelerator) -> Burst:
    """Parts of at least 10 ms after a rest of a second. `step_s` is about the length of a step."""
    num_steps = max(1, math.ceil(PART_S / step_s))
    edges = [accelerator.event() for _ in range(NUM_PARTS + 1)]
    accelerator.synchronize()
    time.sleep(REST_S)
    start_s = time.monotonic()
    edges[0].record()
    for edge in edges[1:]:
        for _ in range(num_steps):
            step()
        edge.record()
    accelerator.synchronize()
    times_s = (float(a.elapsed_time(b)) * _MS for a, b in pairwise(edges))
    return Burst(min(times_s) / num_steps, start_s, time.monotonic())


def burst_figures(
    step: Step, step_s: float | None, flops_per_step: float | None, accelerator: Accelerator
) -> tuple[Told, tuple[float, float] | None]:
    """`burst_flops`, and when it was measured."""
    if not accelerator.asynchronous:
        return _absent("on a CPU neither clocks nor a power limit are read: its burst cannot be told apart")
    if flops_per_step is None or step_s is None:
        return _absent("there is no step time")
    found = burst(step, step_s, accelerator)
    if found.step_s <= 0:
        return _absent("the device's events show no time")
    return ({"burst_flops": flops_per_step / found.step_s}, {}), (found.start_s, found.end_s)


def _absent(why: str) -> tuple[Told, None]:
    return ({"burst_flops": None}, {"burst_flops": why}), None
