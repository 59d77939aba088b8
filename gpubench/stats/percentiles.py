"""Percentiles, only if the sample is large enough for them."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

QUANTILES = {"p50_s": 0.50, "p90_s": 0.90, "p95_s": 0.95, "p99_s": 0.99}


def least_sample(quantile: float, confidence: float = 0.95) -> int:
    """Independent values needed so that at least one lies above the quantile with this confidence.

    1 - q^n >= confidence: 29, 59 and 299 values for p90, p95 and p99 (Wilks 1941).
    """
    return math.ceil(math.log(1 - confidence) / math.log(quantile))


def percentiles(steady_times: "ArrayLike", n_effective: float) -> tuple[dict[str, float | None], dict[str, str]]:
    """Percentiles in the unit of `steady_times`, and why those that are None are absent.

    Both are keyed `p50_s`, `p90_s`, `p95_s`, `p99_s`: put `step_time_` or `latency_` before them and they are names
    of the metric registry.
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
