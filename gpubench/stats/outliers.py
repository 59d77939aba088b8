"""Slow steps are labelled, never dropped."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LEAST_IQR = 1e-3
_SHARE_WORTH_SAYING = 0.01


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
        """One step in a hundred, or one per cent of the time: less changes no figure a person would quote."""
        return self.num_high > 0 and (
            self.num_high / self.num_steps >= _SHARE_WORTH_SAYING or self.excess_share >= _SHARE_WORTH_SAYING
        )


def far_outliers(times: "ArrayLike") -> Outliers:
    """Steps beyond the quartiles by more than three interquartile ranges of log time (Tukey 1977, "far out").

    The range is taken as at least 0.1 %, so that a clock's quantum makes no outliers. ValueError for an empty series.
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
