"""The measuring loop: first steps that choose the group size, then blocks of timed groups until the median is known."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from typing import Literal

from gpubench.core.deferred import HINT, deferred
from gpubench.core.errors import UsageError
from gpubench.protocol.messages import Progress
from gpubench.stats.stopping_rule import StopDecision, StoppingRule
from gpubench.suite.model.suite import Measure
from gpubench.worker.accelerator import Accelerator
from gpubench.worker.timing.cpu_time import CpuTime
from gpubench.worker.timing.timers import Block, Step, Timer, Verdict

Notify = Callable[[Progress], object]

HEARTBEAT_S = 0.3
MIN_DEVICE_WINDOW_S = 3.1
"""Shortest steady window on a GPU unless `measure.min_window` says otherwise: a valid energy figure needs 3 s."""

LEAST_GROUP_S = 1e-3
"""Shorter steps are timed in groups of at least this length."""

MIN_STEPS = 5

_RUN_ON_S = 0.02
_MOST_FASTER = 3
"""Factor: a step that ends with a wait takes at most as long as its launches and its device work in succession."""

_SETTLE_S = 0.1
_SHARE_OF_MAX_TIME = 0.1
_MAX_STEPS = 500
_NS = 1e-9

Reason = Literal["converged", "max_time", "max_steps", "interrupted"]


@dataclass(frozen=True)
class FirstSteps:
    """Seconds of single steps, with the device idle before and after each. `began_ns` is `perf_counter_ns` before the
    first, `began_s` `time.monotonic()`. `over`: no time, or no step, is left for blocks.
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

    Includes loading and starting the driver, the context and one allocation. Kernels are loaded on first use.
    """
    import torch

    began = time.perf_counter()
    if not accelerator.asynchronous or accelerator.problem() is not None:
        return None
    accelerator.select()
    torch.zeros(1, device=accelerator.device)
    accelerator.synchronize()
    return time.perf_counter() - began


def first_steps(
    step: Step,
    wait: Callable[[], None],
    measure: Measure,
    stopped: Callable[[], bool],
    agree: Callable[[tuple[bool, bool]], tuple[bool, bool]] = lambda ends: ends,
) -> FirstSteps:
    """Runs at least five steps, for at least 0.1 s after the first, each to its end.

    That gets past compiling, autotuning and a loader's prefetched batches, so that the last ones show the length of a
    step. If steps are so slow that more would use up the time to measure, two must do. Ends early at `max_steps`, when
    `stopped`, or `max_time` after the first step, which may compile for longer than the whole measurement. UsageError
    for a step that only returns unfinished work. Several ranks must end after the same step: `agree` gives all of them
    the first one's answers.
    """
    times: list[float] = []
    wait()
    began_s, began = time.monotonic(), time.perf_counter_ns()
    settled = patience_ends = time_ends = math.inf
    over = stopped()
    while not over:
        start = time.perf_counter_ns()
        result = step()
        wait()
        now = time.perf_counter_ns()
        times.append(max(now - start, 1) * _NS)
        if (unfinished := deferred(result)) is not None:
            raise UsageError(f"A step returned {unfinished}, so it did not do its work.", hint=HINT)
        del result  # a step must not find its last output still in memory
        if len(times) == 1:
            settled, patience_ends = now + _SETTLE_S / _NS, now + _SHARE_OF_MAX_TIME * measure.max_time / _NS
            time_ends = now + measure.max_time / _NS
        over = now >= time_ends or len(times) >= measure.max_steps or stopped()
        enough = len(times) >= MIN_STEPS and (now >= settled or len(times) >= _MAX_STEPS)
        over, enough = agree((over, enough or (len(times) >= 2 and now >= patience_ends)))
        if enough:
            break
    return FirstSteps(began, began_s, times, over)


def following(step: Step, wait: Callable[[], None], alone_s: float) -> tuple[float, int]:
    """Seconds of a step that follows another without a wait, given `alone_s` of one with waits around it; and the
    number of steps run to find out: about 20 ms of them, none if the answer cannot change the group size.
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


@dataclass
class Measured:
    """A launch's timed groups. `times_s` are seconds per step of each group, in order, warm-up included.

    `starts_s` and `ends_s` are the groups' edges on `time.monotonic()`. `num_leading` of the groups are first steps,
    run before the workload's counters were reset.
    """

    group: int
    times_s: list[float]
    starts_s: list[float]
    ends_s: list[float]
    reason: Reason
    clock: Literal["perf_counter", "cuda_event"]
    timing: Literal["throughput", "latency"]
    blocks: list[Block] = field(default_factory=list)
    num_leading: int = 0

    def add(self, times_s: list[float], started_s: float) -> None:
        """Adds consecutive groups, each timed as a whole."""
        edges = list(accumulate(times_s, initial=started_s))
        self.starts_s += edges[:-1]
        self.ends_s += edges[1:]
        self.times_s += [each / self.group for each in times_s]

    @property
    def cpu(self) -> CpuTime | None:
        """CPU time over all blocks; None if only first steps were timed."""
        return reduce(CpuTime.plus, (block.cpu for block in self.blocks)) if self.blocks else None

    @property
    def num_steps(self) -> int:
        """Steps run in blocks, which the workload's counters have seen."""
        return (len(self.times_s) - self.num_leading) * self.group

    @property
    def series_s(self) -> float:
        """Seconds inside the timed groups."""
        return sum(self.times_s) * self.group

    @property
    def wall_s(self) -> float:
        """Seconds inside blocks, by the host's clock."""
        return sum(block.wall_s for block in self.blocks)


def least_window_s(measure: Measure, *, on_gpu: bool) -> float:
    """Least window in seconds for a valid energy figure; 0 without one."""
    if measure.min_window is not None:
        return measure.min_window
    return MIN_DEVICE_WINDOW_S if on_gpu else 0.0


def stopping_rule(measure: Measure, group: int, cold_s: float = 0.0, *, on_gpu: bool) -> StoppingRule:
    """The rule for groups of `group` steps. On a GPU the steady window is long enough for an energy figure, `max_time`
    permitting. `cold_s`: seconds of the first step, which does not count towards `max_time`.
    """
    return StoppingRule(
        target_rel_ci=measure.target_rel_ci,
        min_time_s=max(measure.min_time, least_window_s(measure, on_gpu=on_gpu)),
        max_time_s=measure.max_time + cold_s,
        min_steps=measure.min_steps,
        max_steps=max(1, measure.max_steps // group),
    )


def measure_steps(
    step: Step,
    timer: Timer,
    rule: StoppingRule,
    first: FirstSteps,
    *,
    group: int,
    stopped: Callable[[], bool],
    notify: Notify,
    between: Callable[[], None] = lambda: None,
) -> Measured:
    """Runs blocks of groups until `rule` is satisfied or `stopped`. Calls `between` after each, where nothing is timed.

    Steps of `first` begin the series if groups are single steps timed by the same clock, so that a slow case need not
    repeat them. Steps followed by a wait are never mixed with those timed by events.
    """
    measured = _begin(timer, first, group, lead=group == 1 and timer.clock == "perf_counter")
    watch = _LoopWatch(rule, first.began_ns, len(measured.times_s), group, stopped, notify)
    while True:
        block = timer.run(step, group, watch)
        measured.blocks.append(block)
        measured.add(block.times_s, block.started_s)
        between()
        if stopped():
            measured.reason = "interrupted"
            return measured
        elapsed_s = (time.perf_counter_ns() - first.began_ns) * _NS
        look = rule.look(measured.times_s, elapsed_s, series_s=measured.series_s)
        watch.tell(look)
        if look.reason != "continue":
            measured.reason = look.reason
            return measured


def only_first_steps(timer: Timer, first: FirstSteps, *, stopped: bool, max_time_s: float) -> Measured:
    """The series of a launch whose first steps used up its time or its number of steps. ValueError without any."""
    if not first.times_s:
        raise ValueError("no step was finished")
    measured = _begin(timer, first, 1, lead=True)
    measured.clock = "perf_counter"
    if not stopped:
        measured.reason = "max_time" if sum(first.times_s) - first.cold_s >= max_time_s else "max_steps"
    return measured


def _begin(timer: Timer, first: FirstSteps, group: int, *, lead: bool) -> Measured:
    measured = Measured(group, [], [], [], "interrupted", timer.clock, timer.timing)
    if lead:
        measured.add(first.times_s, first.began_s)
        measured.num_leading = len(first.times_s)
    return measured


class _LoopWatch:
    """Called after every group: ends the block when a look is due, and tells the parent that steps go on."""

    def __init__(
        self,
        rule: StoppingRule,
        began_ns: int,
        num_groups: int,
        group: int,
        stopped: Callable[[], bool],
        notify: Notify,
    ) -> None:
        self._rule, self._began_ns, self._group = rule, began_ns, group
        self._stopped, self._notify = stopped, notify
        self._num_groups = num_groups
        self._look: StopDecision | None = None
        self._beat_ns = time.perf_counter_ns() + round(HEARTBEAT_S / _NS)
        self._beat_groups = num_groups
        self._last_beat_ns = time.perf_counter_ns()

    def __call__(self, now_ns: int) -> Verdict:
        self._num_groups += 1
        if self._stopped() or self._rule.due(self._num_groups, (now_ns - self._began_ns) * _NS):
            return Verdict.END
        if now_ns < self._beat_ns:
            return Verdict.GO_ON
        self._beat(now_ns)
        return Verdict.PAUSED

    def tell(self, look: StopDecision) -> None:
        self._look = look
        now = time.perf_counter_ns()
        if now >= self._beat_ns:
            self._beat(now)

    def _beat(self, now_ns: int) -> None:
        """Reports the median of the last look, or before that, the mean since the last message."""
        num_new = self._num_groups - self._beat_groups
        mean_s = (now_ns - self._last_beat_ns) * _NS / (num_new * self._group) if num_new else None
        step_time_s = self._look.median_s if self._look else mean_s
        half_width = self._look.rel_half_width if self._look else None
        num_steps = self._num_groups * self._group
        self._notify(Progress(num_steps=num_steps, step_time_s=step_time_s, rel_half_width=half_width))
        self._last_beat_ns, self._beat_groups = now_ns, self._num_groups
        self._beat_ns = now_ns + round(HEARTBEAT_S / _NS)
