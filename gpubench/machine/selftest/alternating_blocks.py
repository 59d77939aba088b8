"""Compares two arms in alternating blocks of one running load: the ratio of step times, with its interval."""

import math
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from gpubench.stats.median_interval import median_interval

Step = tuple[float, float]
"""(start, length) in seconds of CLOCK_MONOTONIC."""

_LEAST_STEPS = 5


@dataclass(frozen=True)
class ArmBlock:
    """A stretch of time under one arm."""

    arm: bool
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Ratio:
    """Step time of the `True` arm over the `False` arm: median over pairs of blocks, with its 95 % interval.

    The interval is by order statistics; there is none below six pairs.
    """

    value: float
    low: float | None
    high: float | None
    num_pairs: int


def alternate(switch: Callable[[bool], None], num_pairs: int, block_s: float, *, seed: int = 0) -> list[ArmBlock]:
    """Runs `num_pairs` pairs of blocks, each pair in random order, and returns the time of each block."""
    order = random.Random(seed)
    blocks = []
    for _ in range(num_pairs):
        first = order.random() < 0.5
        for arm in (first, not first):
            switch(arm)
            start_s = time.monotonic()
            time.sleep(block_s)
            blocks.append(ArmBlock(arm, start_s, time.monotonic()))
    return blocks


def compare(steps: Sequence[Step], blocks: Sequence[ArmBlock]) -> Ratio | None:
    """The ratio, from medians of the steps that lie entirely inside each block. None without a usable pair."""
    starts = [start_s for start_s, _ in steps]
    logs = []
    for pair in zip(blocks[::2], blocks[1::2], strict=True):
        times = {}
        for block in pair:
            inside = steps[bisect_left(starts, block.start_s) : bisect_right(starts, block.end_s)]
            lengths = [length_s for start_s, length_s in inside if start_s + length_s <= block.end_s]
            times[block.arm] = median(lengths) if len(lengths) >= _LEAST_STEPS else None
        on, off = times.get(True), times.get(False)
        if on and off:
            logs.append(math.log(on / off))
    if not logs:
        return None
    interval = median_interval(logs)
    low, high = (math.exp(end) for end in interval) if interval else (None, None)
    return Ratio(math.exp(median(logs)), low, high, len(logs))


def same_arm(blocks: Sequence[ArmBlock]) -> list[ArmBlock]:
    """The blocks of the `False` arm alone, every second one labelled `True`: a comparison with itself."""
    quiet = [block for block in blocks if not block.arm]
    return [
        ArmBlock(position % 2 == 1, block.start_s, block.end_s)
        for position, block in enumerate(quiet[: len(quiet) // 2 * 2])
    ]
