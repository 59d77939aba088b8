"""Finds where a series of runs changed its level: a reason to measure again, never a gate, as runs are not interleaved.

The energy statistic of a split compares distances between the parts with those inside them; permutations of the segment
show whether its best split is more than chance (Matteson and James 2014, "A nonparametric approach for multiple change
point analysis of multivariate data"; Daly et al. 2020 for benchmarks).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from gpubench.core.units import format_percent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

MIN_SEGMENT = 4
PERMUTATIONS = 499
ALPHA = 0.05
MAX_VALUES = 1000
"""Most values in a series; the newest are kept."""

_MOST_SPLITS = 100
"""Most splits tried per permutation of a longer segment, evenly spaced."""


@dataclass(frozen=True)
class ChangePoint:
    """`at` is the position of the first value of the new level. `change` is relative: new median over old, minus 1.

    `p_value`: share of permutations of the segment whose best split is at least as good.
    """

    at: int
    before: float
    after: float
    change: float
    p_value: float

    def __str__(self) -> str:
        return f"{format_percent(self.change, signed=True)} from value {self.at + 1} on (p = {self.p_value:.3f})"


def change_points(
    values: Sequence[float],
    *,
    floor: float = 0.03,
    min_segment: int = MIN_SEGMENT,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[ChangePoint, ...]:
    """Changes of level in a series of positive values, in order.

    Works on logs. Each part has at least `min_segment` values; a shift of the median below `floor` (0.03 is 3 %) is
    left out, however certain. Permutations come from `seed`, so the same series gives the same answer. ValueError for a
    value that is not finite and positive, or more than 1000 of them.
    """
    import numpy as np

    if not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError("a series needs finite, positive values")
    if len(values) > MAX_VALUES:
        raise ValueError(f"a series of {len(values)} values is too long: {MAX_VALUES} are the most")
    logs = np.log(np.asarray(values, dtype=float))
    rng = np.random.default_rng(seed)
    splits = _splits(logs, 0, min_segment, alpha, permutations, rng)
    return tuple(_with_levels(values, splits, floor))


def _splits(
    logs: "FloatArray", offset: int, least: int, alpha: float, permutations: int, rng: "np.random.Generator"
) -> list[tuple[int, float]]:
    """Positions of significant splits with their p-values, the segment halved at each."""
    if len(logs) < 2 * least or logs.max() == logs.min():
        return []
    every = math.ceil(len(logs) / _MOST_SPLITS)
    least_as_good = best_split(logs, least, every)[1] - _tie(logs)
    as_good = 0
    for _ in range(permutations):
        as_good += best_split(rng.permutation(logs), least, every)[1] >= least_as_good
        if as_good + 1 > alpha * (permutations + 1):
            return []  # whatever the others say
    p_value = (as_good + 1) / (permutations + 1)
    at = best_split(logs, least)[0]
    left = _splits(logs[:at], offset, least, alpha, permutations, rng)
    right = _splits(logs[at:], offset + at, least, alpha, permutations, rng)
    return [*left, (offset + at, p_value), *right]


def _tie(logs: "FloatArray") -> float:
    """Statistics closer than this are equal: rounding must not decide."""
    return 1e-9 * len(logs) * float(logs.max() - logs.min())


def best_split(logs: "FloatArray", least: int, every: int = 1) -> tuple[int, float]:
    """The split with the largest energy statistic, and its value.

    Q = m n / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|), with m and n the sizes of the parts; both parts have at
    least `least` values. Only every `every`-th split is tried.

    The sum of all distances within a part is twice the sum of gap r x k_r (m - k_r) over the gaps between neighbours in
    order of size, where k_r values of the part are below the gap. So no distance of two values is ever computed.
    """
    import numpy as np

    num = len(logs)
    at = np.arange(least, num - least + 1, every)
    order = np.argsort(logs, kind="stable")
    gaps, below = 2 * np.diff(logs[order]), np.arange(1, num)[:, None]
    first_split = np.zeros((num, len(at) + 1), dtype=np.int64)  # the first split that has a value on its left
    first_split[np.arange(num), np.searchsorted(at, order, side="right")] = 1
    left = first_split[:, :-1].cumsum(axis=1).cumsum(axis=0)[:-1]
    m, n, right = at, num - at, below - left
    inside_left, inside_right = gaps @ (left * (m - left)), gaps @ (right * (n - right))
    across = (gaps @ (below[:, 0] * (num - below[:, 0])) - inside_left - inside_right) / 2
    q = m * n / num * (2 * across / (m * n) - inside_left / (m * (m - 1)) - inside_right / (n * (n - 1)))
    best = int(np.argmax(q >= q.max() - _tie(logs)))  # the first of equals
    return int(at[best]), float(q[best])


def _with_levels(values: Sequence[float], splits: Sequence[tuple[int, float]], floor: float) -> list[ChangePoint]:
    """Levels are medians between neighbouring splits. A split below the floor is dropped and its parts are joined."""
    from statistics import median

    kept = list(splits)
    while True:
        edges = [0, *(at for at, _ in kept), len(values)]
        levels = [median(values[a:b]) for a, b in pairwise(edges)]
        shifts = [after / before - 1 for before, after in pairwise(levels)]
        small = [number for number, shift in enumerate(shifts) if abs(math.log1p(shift)) < math.log1p(floor)]
        if not small:
            return [
                ChangePoint(at, levels[number], levels[number + 1], shifts[number], p_value)
                for number, (at, p_value) in enumerate(kept)
            ]
        del kept[min(small, key=lambda number: abs(shifts[number]))]
