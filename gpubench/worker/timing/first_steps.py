"""One-off costs, and the calibration steps that choose the group size."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from gpubench.suite.model.suite import Measure
from gpubench.worker.accelerator import Accelerator
from gpubench.worker.timing.timers import Step

LEAST_GROUP_S = 1e-3
"""Shorter steps are timed in groups of at least this length."""

MIN_STEPS = 5

_RUN_ON_S = 0.02
_MOST_FASTER = 3
"""A step that ends with a wait takes at most as long as its launches and its device work one after the other."""

_SETTLE_S = 0.1
_SHARE_OF_MAX_TIME = 0.1
_MAX_STEPS = 500
_NS = 1e-9


@dataclass(frozen=True)
class FirstSteps:
    """Each step on its own, the device idle before and after, in seconds. `began_ns` is `perf_counter_ns` before the
    first, `began_s` `time.monotonic()`. `over` if there is no time, or no step, left to measure in any other way.
    """

    began_ns: int
    began_s: float
    times_s: list[float]
    over: bool

    @property
    def cold_s(self) -> float:
        """The first step, with compiling, autotuning and loading kernels. `measure.max_time` counts from its end."""
        return self.times_s[0] if self.times_s else 0.0

    @property
    def typical_s(self) -> float:
        """Median of the later half."""
        later = sorted(self.times_s[len(self.times_s) // 2 :])
        return later[len(later) // 2]


def create_context(accelerator: Accelerator) -> float | None:
    """Seconds until the device answers its first request; None on the CPU or if the device cannot be used.

    Includes loading and starting the driver, the context and one allocation. Kernels are loaded when first used.
    """
    import torch

    began = time.perf_counter()
    if not accelerator.asynchronous or accelerator.problem() is not None:
        return None
    accelerator.select()
    torch.zeros(1, device=accelerator.device)
    accelerator.synchronize()
    return time.perf_counter() - began


def first_steps(step: Step, wait: Callable[[], None], measure: Measure, stopped: Callable[[], bool]) -> FirstSteps:
    """Runs at least five steps, for at least 0.1 s after the first, each to its end.

    Enough to get over compiling, autotuning and what a loader has prefetched, so that the last of them tell how long a
    step is. Two have to do where steps are so slow that more would eat into the time to measure. Ends early at
    `max_steps`, when `stopped`, or `max_time` after the first step: that one may compile for longer than the
    measurement is to take.
    """
    times: list[float] = []
    wait()
    began_s, began = time.monotonic(), time.perf_counter_ns()
    settled = patience_ends = time_ends = math.inf
    over = stopped()
    while not over:
        start = time.perf_counter_ns()
        step()
        wait()
        now = time.perf_counter_ns()
        times.append(max(now - start, 1) * _NS)
        if len(times) == 1:
            settled, patience_ends = now + _SETTLE_S / _NS, now + _SHARE_OF_MAX_TIME * measure.max_time / _NS
            time_ends = now + measure.max_time / _NS
        over = now >= time_ends or len(times) >= measure.max_steps or stopped()
        if len(times) >= MIN_STEPS and (now >= settled or len(times) >= _MAX_STEPS):
            break
        if len(times) >= 2 and now >= patience_ends:
            break
    return FirstSteps(began, began_s, times, over)


def following(step: Step, wait: Callable[[], None], alone_s: float) -> tuple[float, int]:
    """Seconds of a step that follows another without a wait, given `alone_s` of one with waits around it; and how many
    steps were run to find out: about 20 ms of them, none if the answer cannot change how steps are grouped.
    """
    if alone_s >= _MOST_FASTER * LEAST_GROUP_S:
        return alone_s, 0
    num_steps = min(math.ceil(_RUN_ON_S / alone_s), _MAX_STEPS)
    wait()
    began = time.perf_counter_ns()
    for _ in range(num_steps):
        step()
    wait()
    return max(time.perf_counter_ns() - began, 1) * _NS / num_steps, num_steps


def group_size(step_s: float, measure: Measure) -> int:
    """Steps per timed group: ceil(1 ms / t), but `min_steps` groups must fit into `max_steps` steps."""
    most = max(1, measure.max_steps // measure.min_steps)
    return max(1, min(math.ceil(LEAST_GROUP_S / step_s), most))
