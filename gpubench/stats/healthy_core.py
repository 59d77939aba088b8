"""Where the healthy cards of a fleet are, and how much they differ, whatever the slow ones do."""

from typing import TYPE_CHECKING, NamedTuple

from gpubench.stats.estimators import t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

LEAST_CARDS = 5
"""Fewer have no spread that one odd card would not decide."""

FEW_CARDS = 20
"""Fewer do not show what their usual spread is: with seven, its estimate is off by a third in either direction."""

_MOST_SLOW = 0.4
_LEVEL = 0.3
_CUT = 3.0
_MOST_PASSES = 20


class Core(NamedTuple):
    """Centre and standard deviation of the healthy, in the unit of the values, and how many of them were used."""

    centre: float
    spread: float
    num_cards: int


def healthy_core(values: "ArrayLike") -> Core:
    """The values without those at their upper end that the rest does not explain. Logs of times: slow cards are there.

    From above, each value is held against those below it, and the lowest that is too far takes all above it along
    (Rosner 1983, "Percentage points for a generalized ESD many-outlier procedure", one-sided), so that several slow
    cards do not hide each other. At most two of five are taken out. Of 20 values and more, those further than three
    spreads from the centre are left out too, until nothing changes. ValueError below five values.
    """
    import numpy as np

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    number = len(ordered)
    if number < LEAST_CARDS:
        raise ValueError(f"{number} values are too few to tell which of them are alike; at least {LEAST_CARDS}")
    ordered = ordered[: number - _slow(ordered)]
    kept = ordered
    if number >= FEW_CARDS:
        for _ in range(_MOST_PASSES):
            within = ordered[np.abs(ordered - kept.mean()) <= _CUT * kept.std(ddof=1)]
            if len(within) == len(kept):
                break
            kept = within
    return Core(float(kept.mean()), float(kept.std(ddof=1)), len(kept))


def _slow(ordered: "FloatArray") -> int:
    """How many of the largest values the others do not explain."""
    import numpy as np

    values = ordered - np.median(ordered)  # sums of squares of small differences stay exact
    number = len(values)
    most = min(int(_MOST_SLOW * number), number - 3)
    below = np.arange(number - 1, number - 1 - most, -1)  # how many values each candidate is held against
    sums, squares = np.cumsum(values)[below - 1], np.cumsum(values**2)[below - 1]
    mean = sums / below
    spread = np.sqrt(np.maximum(squares - below * mean**2, 0.0) / (below - 1)) * np.sqrt(1 + 1 / below)
    limit = np.array([min(_CUT, t_quantile(1 - _LEVEL / number, float(each - 1))) for each in below.tolist()])
    (far,) = np.nonzero(values[below] - mean > limit * spread)
    return int(far[-1]) + 1 if len(far) else 0
