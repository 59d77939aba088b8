"""What the host did while the device worked: handed work over, waited for input, or waited for the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, median
from typing import Literal

from gpubench.worker.timing.loop import Measured

HOST_IDLE_SHARE = 0.05
"""The host had nothing left to hand over for this share of the time: the device is the limit."""

INPUT_BOUND_SHARE = 0.10
"""From this share of step time on, waiting for input is what bounds a step whose device is not the limit."""

Bound = Literal["gpu", "launch", "input", "cpu"]

Waits = Sequence[float] | None
"""Seconds per step of the blocks; None where a step never waits."""


@dataclass(frozen=True)
class HostTime:
    """Of the blocks on a CUDA device. `enqueue_s`: what the host needs to hand over one step, waits not counted; None
    with its `reason`. `launch_share`: of the blocks' time, what handing over took.

    Two kinds of waiting look like handing over. A step that reads a value of the device waits for it (a GradScaler
    does): the workload tells how long. And where the launch queue is full (some thousand kernels) a launch returns only
    when the device has made room; that cannot happen in the first group of a block, which an idle device with an empty
    queue is given. So the lesser of those groups and of all of them counts.
    """

    enqueue_s: float | None
    launch_share: float
    reason: str | None = None

    @classmethod
    def of(cls, measured: Measured, num_warmup: int, *, waits_s: Sequence[Waits] = ()) -> "HostTime":
        """`waits_s`: kinds of waiting that a workload told, each in seconds per step of the blocks."""
        launching_s = [each for block in measured.blocks for each in block.enqueue_s]
        first = max(0, num_warmup - measured.num_leading)
        if not launching_s[first:]:
            return cls(None, 0.0, "no steps beyond the first ones were timed")
        for told in waits_s:
            launching_s = _less(launching_s, measured.group, told)
        starts = accumulate((len(block.enqueue_s) for block in measured.blocks[:-1]), initial=0)
        unhindered_s = median(launching_s[start] for start in starts)
        group_s = fmean(measured.times_s[measured.num_leading :]) * measured.group
        return cls(
            min(median(launching_s[first:]), unhindered_s) / measured.group,
            min(sum(launching_s) / measured.wall_s, unhindered_s / group_s),
        )

    def bound(self, input_share: float, *, blocking_copies: bool) -> Bound | None:
        """What a step waits for: a host with time to spare keeps the device from ever running out of work.

        `input_share`: of the blocks' time, what waiting for input took. `blocking_copies`: a copy in every step makes
        the host wait for the device, which then has nothing to do.
        """
        if self.enqueue_s is None:
            return None
        if blocking_copies:
            return "input"
        if 1 - self.launch_share - input_share >= HOST_IDLE_SHARE:
            return "gpu"
        return "input" if input_share >= INPUT_BOUND_SHARE else "launch"


def _less(groups_s: list[float], group: int, waits_s: Waits) -> list[float]:
    """Seconds per group without its steps' waits, where the workload told one for every step."""
    if not waits_s or len(waits_s) != len(groups_s) * group:
        return groups_s
    return [max(0.0, each - sum(waits_s[index * group : (index + 1) * group])) for index, each in enumerate(groups_s)]
