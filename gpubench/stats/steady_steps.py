"""What the steady steps of a launch show besides their median: drift, slow steps, percentiles."""

import math
from typing import TYPE_CHECKING, NamedTuple

from gpubench.stats.warmup import block_medians

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NUM_BLOCKS = 20
MAX_DRIFT = 0.01
_FEWEST_BLOCKS = 5
_LEAST_IQR = 1e-3
_Z_95 = 1.959963984540054
_SHARE_WORTH_SAYING = 0.01
QUANTILES = {"p50_s": 0.50, "p90_s": 0.90, "p95_s": 0.95, "p99_s": 0.99}


class Drift(NamedTuple):
    """Relative change of step time from the first to the last step of the window, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def steady(self) -> bool:
        """False for more than 1 % over the window with an interval that excludes 0."""
        return abs(self.value) <= MAX_DRIFT or self.low <= 0 <= self.high


def drift(step_times: "ArrayLike") -> Drift | None:
    """Theil-Sen slope of 20 block medians of log step time, times the window's length; None below 25 steps.

    Fewer blocks where 20 would hold fewer than five steps each. The interval is Sen's, from Kendall's distribution
    (Sen 1968), which needs no distribution of the noise.
    """
    import numpy as np

    t = np.asarray(step_times, dtype=float)
    num_blocks = min(NUM_BLOCKS, t.size // 5)
    if num_blocks < _FEWEST_BLOCKS:
        return None
    medians = block_medians(np.log(t), t.size // num_blocks)
    window = medians.size - 1
    return Drift(*(float(np.expm1(slope * window)) for slope in slope_interval(medians)))


def slope_interval(values: "ArrayLike") -> tuple[float, float, float]:
    """The Theil-Sen slope per value, and its 95 % interval by equation 2.6 of Sen 1968: `scipy.stats.theilslopes`,
    which takes a second to import.
    """
    import numpy as np

    y = np.asarray(values, dtype=float)
    first, second = np.triu_indices(y.size, k=1)
    slopes = np.sort((y[second] - y[first]) / (second - first))
    ties = np.unique(y, return_counts=True)[1]
    sizes = np.array([y.size, *ties[ties > 1]], dtype=float)
    variances = sizes * (sizes - 1) * (2 * sizes + 5) / 18
    reach = _Z_95 * math.sqrt(variances[0] - variances[1:].sum())
    low = max(round((slopes.size - reach) / 2) - 1, 0)
    high = min(round((slopes.size + reach) / 2), slopes.size - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


class Outliers(NamedTuple):
    """Steps beyond Tukey's far fences. `excess_share` is the part of the total time the slow ones took above the
    median.
    """

    num_low: int
    num_high: int
    num_steps: int
    high_fence: float
    excess_share: float

    @property
    def worth_saying(self) -> bool:
        """From one step in a hundred, or one per cent of the time: less changes no figure that anyone quotes."""
        return self.num_high > 0 and (
            self.num_high / self.num_steps >= _SHARE_WORTH_SAYING or self.excess_share >= _SHARE_WORTH_SAYING
        )


def far_outliers(times: "ArrayLike") -> Outliers:
    """Steps beyond the quartiles by more than three interquartile ranges of log time (Tukey 1977, "far out").

    The range is at least 0.1 %, so that a coarse clock makes no outliers. ValueError for an empty series.
    """
    import numpy as np

    t = np.asarray(times, dtype=float)
    if t.size == 0:
        raise ValueError("an empty series has no outliers")
    logs = np.log(t)
    first, third = np.quantile(logs, (0.25, 0.75))
    reach = 3 * max(float(third - first), _LEAST_IQR)
    slow = t[logs > third + reach]
    return Outliers(
        num_low=int(np.count_nonzero(logs < first - reach)),
        num_high=int(slow.size),
        num_steps=int(t.size),
        high_fence=float(np.exp(third + reach)),
        excess_share=float((slow - np.median(t)).sum() / t.sum()),
    )


def least_sample(quantile: float) -> int:
    """Independent values needed so that at least one lies above the quantile with a confidence of 95 %.

    1 - q^n >= 0.95: 29, 59 and 299 values for p90, p95 and p99 (Wilks 1941).
    """
    return math.ceil(math.log(1 - 0.95) / math.log(quantile))


def percentiles(steady_times: "ArrayLike", n_effective: float) -> tuple[dict[str, float | None], dict[str, str]]:
    """Percentiles in the unit of `steady_times`, and why those that are None are absent.

    Both are keyed `p50_s`, `p90_s`, `p95_s`, `p99_s`: with `step_time_` or `latency_` before them they are names in the
    metric registry.
    """
    import numpy as np

    t = np.asarray(steady_times, dtype=float)
    values: dict[str, float | None] = dict.fromkeys(QUANTILES)
    if t.size == 0:
        return values, dict.fromkeys(QUANTILES, "no steady steps")
    absent: dict[str, str] = {}
    for name, quantile in QUANTILES.items():
        needed = 1 if quantile == 0.5 else least_sample(quantile)
        if n_effective >= needed:
            values[name] = float(np.quantile(t, quantile))
        else:
            absent[name] = f"needs an effective sample of {needed}, this series has {math.floor(n_effective)}"
    return values, absent
