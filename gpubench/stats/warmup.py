"""Where the warm-up of a series ends."""

import math
from typing import TYPE_CHECKING

from gpubench.stats.autocorrelation import autocorrelation_time

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

BLOCK = 5
MIN_WARMUP = 5
MAX_BLOCKS = 400
_MIN_SEGMENT = 2
_MERGE_LOG = math.log(1.01)
_LEAST_SCALE = 1e-3
_MAD_TO_SIGMA = 1.4826


def block_medians(values: "ArrayLike", block: int) -> "FloatArray":
    """Medians of consecutive blocks; an incomplete last block is left out."""
    import numpy as np

    x = np.asarray(values, dtype=float)
    num_blocks = x.size // block
    medians: FloatArray = np.median(x[: num_blocks * block].reshape(num_blocks, block), axis=1)
    return medians


def mser_truncation(blocks: "ArrayLike") -> int:
    """Blocks to drop by the marginal standard error rule: the d that minimises variance / (n - d), in the first half.

    White 1997, "An effective truncation heuristic for bias reduction in simulation output" (MSER; MSER-5 with blocks of
    five). Ties go to the smaller d.
    """
    import numpy as np

    x = np.asarray(blocks, dtype=float)
    n = x.size
    if n < 4:
        return 0
    centred = x - np.median(x)
    rest = n - np.arange(n // 2 + 1)
    total = np.cumsum(centred[::-1])[::-1][: rest.size]
    squares = np.cumsum(centred[::-1] ** 2)[::-1][: rest.size]
    variance = np.maximum(squares / rest - (total / rest) ** 2, 0.0)
    return int(np.argmin(variance / rest))


def change_points(blocks: "ArrayLike") -> tuple[int, ...]:
    """Starts of the segments of constant level, beginning with 0.

    The segmentation that minimises the sum of squares plus a penalty per segment, which PELT finds too (Killick,
    Fearnhead, Eckley 2012); `MAX_BLOCKS` values are few enough to try every start. The series is scaled by 1.4826 MAD
    of its differences and the penalty is 3 tau ln n, where tau is taken from the second half: a warm-up in the first
    would look like an endless autocorrelation and hide itself.
    """
    import numpy as np

    x = np.asarray(blocks, dtype=float)
    if x.size < 2 * _MIN_SEGMENT + 2 or np.ptp(x) == 0:
        return (0,)
    # The scale is at least 0.1 %, or a coarse clock would make every tick a phase.
    differences = np.diff(x)
    scale = max(float(_MAD_TO_SIGMA * np.median(np.abs(differences - np.median(differences)))), _LEAST_SCALE)
    penalty = 3 * autocorrelation_time(x[x.size // 2 :]) * math.log(x.size)
    return segments(x / scale, penalty)


def segments(values: "ArrayLike", penalty: float) -> tuple[int, ...]:
    """Starts of the segments, of two values or more each, with the least sum of squares about their means plus
    `penalty` per segment. Takes time as the square of their number.
    """
    import numpy as np

    x = np.asarray(values, dtype=float)
    x = x - x.mean()
    sums = np.concatenate(([0.0], np.cumsum(x)))
    per_length = 1 / np.arange(x.size, 0, -1)
    starts = np.zeros(x.size + 1, dtype=int)
    # Least cost before each start, without the sum of x^2, which is the same for all.
    before = np.full(x.size + 1, np.inf)
    before[0] = 0.0
    for end in range(_MIN_SEGMENT, x.size + 1):
        num = end - _MIN_SEGMENT + 1
        total = sums[end] - sums[:num]
        costs = before[:num] - total * total * per_length[x.size - end :][:num]
        starts[end] = start = costs.argmin()
        before[end] = costs[start] + penalty
    found = [int(starts[-1])]
    while found[-1]:
        found.append(int(starts[found[-1]]))
    return tuple(reversed(found))


def pelt_truncation(blocks: "ArrayLike") -> int:
    """Blocks before the last level: segments whose medians lie within 1 % are merged, from the end backwards."""
    import numpy as np

    x = np.asarray(blocks, dtype=float)
    starts = change_points(x)
    start = starts[-1]
    for earlier in reversed(starts[:-1]):
        if abs(float(np.median(x[earlier:start])) - float(np.median(x[start:]))) > _MERGE_LOG:
            break
        start = earlier
    return start


def warmup_length(step_times: "ArrayLike") -> int:
    """Steps to drop from the front: min(max(5, d_PELT, d_MSER5), n/2), found on log step times.

    Both rules use medians of 5 steps, so that a single slow step is not a phase; of more steps if the series is longer
    than 2000, so that a look stays cheap. ValueError if a time is not positive.
    """
    import numpy as np

    t = np.asarray(step_times, dtype=float)
    if t.size and not (np.isfinite(t).all() and t.min() > 0):
        raise ValueError("step times must be finite and positive")
    block = BLOCK * max(1, math.ceil(t.size / (BLOCK * MAX_BLOCKS)))
    blocks = block_medians(np.log(t), block)
    found = max(pelt_truncation(blocks), mser_truncation(blocks)) * block if blocks.size else 0
    return min(max(MIN_WARMUP, found), t.size // 2)
