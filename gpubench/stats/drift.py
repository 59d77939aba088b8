"""Is a series still drifting?"""

from typing import TYPE_CHECKING, NamedTuple

from gpubench.stats.warmup import block_medians

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NUM_BLOCKS = 20
MAX_DRIFT = 0.01
_FEWEST_BLOCKS = 5


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
    """Theil-Sen slope over 20 block medians of log step time, times the window; None below 25 steps.

    Fewer blocks where 20 would hold fewer than five steps each. The interval is Sen's, from Kendall's distribution
    (Sen 1968), which needs no distribution of the noise.
    """
    import numpy as np
    from scipy.stats import theilslopes

    t = np.asarray(step_times, dtype=float)
    num_blocks = min(NUM_BLOCKS, t.size // 5)
    if num_blocks < _FEWEST_BLOCKS:
        return None
    medians = block_medians(np.log(t), t.size // num_blocks)
    found = theilslopes(medians, np.arange(medians.size), alpha=0.95)
    window = medians.size - 1
    return Drift(*(float(np.expm1(slope * window)) for slope in (found.slope, found.low_slope, found.high_slope)))
