"""Timers of steps. Each runs one block: consecutive timed groups of steps, without garbage collection.

A timer asks `watch` after every group whether to go on. A loop waits for the device only to keep the host at most four
groups ahead.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from typing import Literal

from gpubench.core.collect_later import no_collection
from gpubench.suite.model.case import Timing
from gpubench.worker.accelerator import Accelerator, DeviceEvent
from gpubench.worker.timing.cpu_time import CpuTime

Step = Callable[[], object]

MAX_AHEAD = 4
"""Groups the host may be ahead of the device: enough never to starve it, few enough to stop promptly."""

EVENT_RESOLUTION_S = 5e-7
_NS = 1e-9
_FLOOR_REQUESTS = 200
_MS = 1e-3


class Verdict(Enum):
    """The answer of `watch` after a group. PAUSED: it spent time itself, which belongs to no group."""

    GO_ON = auto()
    PAUSED = auto()
    END = auto()


Watch = Callable[[int], Verdict]
"""Called with `perf_counter_ns` at the end of a group."""


@dataclass
class Block:
    """Times in seconds. `times_s` per group, in order; they sum to `device_s` (CUDA) or to `wall_s` minus pauses (CPU).

    `wall_s` is the host's time for the block, with the device idle at both ends. `enqueue_s` is the host's launch time
    per group. `started_s` is `time.monotonic()` at the first boundary.
    """

    started_s: float
    times_s: list[float]
    wall_s: float
    cpu: CpuTime
    device_s: float | None = None
    enqueue_s: list[float] = field(default_factory=list)


class Timer:
    """`clock` and `timing` name the kind of times; `run` times groups of `group` steps until `watch` ends the block."""

    clock: Literal["perf_counter", "cuda_event"] = "perf_counter"
    timing: Literal["throughput", "latency"] = "throughput"

    def run(self, step: Step, group: int, watch: Watch) -> Block:
        raise NotImplementedError


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collects garbage first, so that no collection happens in a step. Does nothing if nested."""
    if gc.isenabled():
        gc.collect()
    with no_collection():
        yield


class CpuTimer(Timer):
    """`time.perf_counter_ns` at the boundaries of groups."""

    def run(self, step: Step, group: int, watch: Watch) -> Block:
        clock, times_ns, rounds = time.perf_counter_ns, [], range(group)
        with no_garbage_collection():
            cpu = CpuTime.now()
            started_s, began = time.monotonic(), clock()
            previous = began
            while True:
                for _ in rounds:
                    step()
                now = clock()
                times_ns.append(now - previous)
                verdict = watch(now)
                if verdict is Verdict.END:
                    break
                previous = now if verdict is Verdict.GO_ON else clock()
            cpu = CpuTime.now() - cpu
        # A clock that did not tick counts as its resolution, not zero.
        return Block(started_s, [max(each, 1) * _NS for each in times_ns], (now - began) * _NS, cpu)


class LatencyTimer(Timer):
    """One request at a time: from the call until the device has answered. A group is always one step."""

    timing = "latency"

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait

    def run(self, step: Step, group: int, watch: Watch) -> Block:
        assert group == 1, "requests are timed one by one"
        clock, times_ns, wait = time.perf_counter_ns, [], self._wait
        wait()
        with no_garbage_collection():
            cpu = CpuTime.now()
            started_s, began = time.monotonic(), clock()
            while True:
                start = clock()
                step()
                wait()
                now = clock()
                times_ns.append(now - start)
                if watch(now) is Verdict.END:
                    break
            cpu = CpuTime.now() - cpu
        return Block(started_s, [max(each, 1) * _NS for each in times_ns], (now - began) * _NS, cpu)

    def floor_s(self) -> float:
        """Median time of an empty request in seconds: the cost of the synchronisation itself."""
        clock, times = time.perf_counter_ns, []
        for _ in range(_FLOOR_REQUESTS):
            start = clock()
            self._wait()
            times.append(clock() - start)
        return sorted(times)[_FLOOR_REQUESTS // 2] * _NS


class DeviceTimer(Timer):
    """Events on the compute stream at the boundaries of groups, read after the block's one synchronisation.

    The stream is the current one when `run` is called: work that a workload launches elsewhere and does not join shows
    as a disagreement with the wall clock. Records call the clock `cuda_event` on every device.
    """

    clock = "cuda_event"

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._free: list[DeviceEvent] = []

    def run(self, step: Step, group: int, watch: Watch) -> Block:
        clock, rounds = time.perf_counter_ns, range(group)
        enqueue_ns = []
        self._accelerator.synchronize()
        with no_garbage_collection():
            cpu = CpuTime.now()
            started_s, began = time.monotonic(), clock()
            events = [self._record()]
            while True:
                start = clock()
                for _ in rounds:
                    step()
                queued = now = clock()
                enqueue_ns.append(queued - start)
                events.append(self._record())
                if len(events) > MAX_AHEAD:
                    events[-1 - MAX_AHEAD].synchronize()
                    now = clock()
                if watch(now) is Verdict.END:
                    break
            self._accelerator.synchronize()
            wall_ns = clock() - began
            cpu = CpuTime.now() - cpu
        block = Block(
            started_s,
            # Nothing takes less than the clock's resolution.
            [max(before.elapsed_time(after) * _MS, EVENT_RESOLUTION_S) for before, after in pairwise(events)],
            wall_ns * _NS,
            cpu,
            device_s=events[0].elapsed_time(events[-1]) * _MS,
            enqueue_s=[each * _NS for each in enqueue_ns],
        )
        self._free.extend(events)
        return block

    def _record(self) -> DeviceEvent:
        # Blocking: while held back, the host sleeps and leaves its core to loader workers.
        event = self._free.pop() if self._free else self._accelerator.event(blocking=True)
        event.record()
        return event


def timer_for(timing: Timing, accelerator: Accelerator) -> Timer:
    if timing == "latency":
        return LatencyTimer(accelerator.synchronize)
    return DeviceTimer(accelerator) if accelerator.asynchronous else CpuTimer()


def disagreement(blocks: list[Block]) -> tuple[float, float] | None:
    """(wall, device) seconds over all blocks if they differ by more than max(1 %, 1 ms a block); else None.

    The host may be descheduled for a millisecond at the end of any block; a wrong clock is wrong in every block.
    """
    timed = [(block.wall_s, block.device_s) for block in blocks if block.device_s is not None]
    wall_s, device_s = sum(wall for wall, _ in timed), sum(device for _, device in timed)
    return (wall_s, device_s) if abs(wall_s - device_s) > max(0.01 * wall_s, _MS * len(timed)) else None
