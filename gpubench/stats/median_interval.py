"""The order-statistic interval of a median."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CONFIDENCE = 0.95


@lru_cache(maxsize=4096)
def median_rank(num_values: int, confidence: float = CONFIDENCE) -> int | None:
    """The largest k for which [x_(k), x_(n+1-k)] (ranks from 1) holds the median with at least `confidence`.

    Exact and conservative: P(Bin(n, 1/2) <= k - 1) <= (1 - confidence) / 2. None if even the whole range does not
    (fewer than six values at 95 %). Assumes nothing about the distribution but independence (David and Nagaraja 2003,
    "Order statistics", section 7.1; recommended for timings by Le Boudec 2010, section 2.2).
    """
    import numpy as np

    if num_values < 1:
        return None
    counts = np.arange(1, num_values // 2 + 1)
    log_pmf = np.concatenate(([0.0], np.cumsum(np.log((num_values - counts + 1) / counts)))) - num_values * math.log(2)
    cumulative = np.cumsum(np.exp(log_pmf))
    rank = int(np.searchsorted(cumulative, (1 - confidence) / 2, side="right"))
    return rank or None


def median_interval(
    times: "ArrayLike", n_effective: float | None = None, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Interval of the median of a series that is worth `n_effective` independent values (None: all of them).

    The ranks are those of `floor(n_effective)` independent values, carried over to the series at equal shares and
    rounded outwards. In the unit of `times`; None if the effective sample is too small for any interval.
    """
    import numpy as np

    t = np.asarray(times, dtype=float)
    n = t.size
    worth = n if n_effective is None else min(n, math.floor(n_effective + 1e-9))
    rank = median_rank(worth, confidence)
    if rank is None:
        return None
    low = min(max(math.floor(rank / (worth + 1) * (n + 1) + 1e-9), 1), (n + 1) // 2)
    ordered = np.partition(t, (low - 1, n - low))
    return float(ordered[low - 1]), float(ordered[n - low])
