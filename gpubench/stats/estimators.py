"""The distributions and estimators behind every verdict.

Effects are judged on log time, where a ratio is a difference. This module uses `scipy.special` alone, which loads much
faster than `scipy.stats`.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_MOST_LOG = 700.0

TRIM = 0.2
LEAST_TRIMMED = 8
"""Fewer values are not trimmed: cutting one at each end of six would leave the error three degrees of freedom."""

_SWEEPS = 50
_SETTLED = 1e-9


class Location(NamedTuple):
    """A mean, its standard error and the degrees of freedom of the error; in the unit of the values."""

    mean: float
    standard_error: float
    df: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The mean -+ t times its standard error; the mean itself if the error is 0."""
        reach = t_quantile(0.5 + confidence / 2, self.df) * self.standard_error
        return self.mean - reach, self.mean + reach

    def p_value(self, value: float = 0.0) -> float:
        """Two-sided, for the hypothesis that the mean is `value`."""
        return min(1.0, 2 * t_tail(abs(self._t(value)), self.df))

    def p_above(self) -> float:
        """One-sided: small if the mean is above 0."""
        return t_tail(self._t(0.0), self.df)

    def _t(self, value: float) -> float:
        difference = self.mean - value
        if self.standard_error > 0:
            return difference / self.standard_error
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)


@lru_cache(maxsize=1024)
def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t, cached: few degrees of freedom occur, each for many figures."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def t_tail(t: float, df: float) -> float:
    """P(T >= t) of Student's t."""
    from scipy.special import stdtr

    return float(stdtr(df, -t))


def trimmed_moments(values: "ArrayLike", trim: float = TRIM) -> tuple["FloatArray", "FloatArray", int]:
    """Trimmed mean, its standard error and degrees of freedom, along the last axis.

    With g = floor(trim R) values cut at each end (none of fewer than eight), s the standard deviation after winsorising
    as many: se = s / ((1 - 2 g / R) sqrt R) with df = R - 2 g - 1 (Tukey and McLaughlin 1963; Yuen 1974; on differences
    of pairs it is Yuen's paired test). g = 0 is the ordinary mean. ValueError below two values.
    """
    import numpy as np

    ordered = np.sort(np.asarray(values, dtype=float), axis=-1)
    num = ordered.shape[-1]
    cut = _cut(num, trim)
    kept = ordered[..., cut : num - cut]
    winsorised = np.clip(ordered, kept[..., :1], kept[..., -1:])
    spread = winsorised.std(axis=-1, ddof=1)
    return kept.mean(axis=-1), spread / ((1 - 2 * cut / num) * math.sqrt(num)), num - 2 * cut - 1


def _cut(num: int, trim: float) -> int:
    """Values cut at each end. ValueError for too few values, or a share that leaves none."""
    if num < 2:
        raise ValueError(f"a standard error needs at least two values, got {num}")
    if not 0 <= trim < 0.5:
        raise ValueError(f"trim must be in [0, 0.5), got {trim}")
    return math.floor(trim * num + 1e-9) if num >= LEAST_TRIMMED else 0


def bounded_exp(value: float) -> float:
    """The exponential of a log, kept above 0 and within a float's range."""
    return math.exp(min(max(value, -_MOST_LOG), _MOST_LOG))


def trimmed_location(values: Sequence[float], trim: float = TRIM) -> Location:
    """`trimmed_moments` of one series in plain Python, ten times faster than numpy for a few launches."""
    ordered = sorted(float(value) for value in values)
    num = len(ordered)
    cut = _cut(num, trim)
    kept = ordered[cut : num - cut]
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    middle = math.fsum(winsorised) / num
    spread = math.sqrt(math.fsum((value - middle) ** 2 for value in winsorised) / (num - 1))
    error = spread / ((1 - 2 * cut / num) * math.sqrt(num))
    return Location(math.fsum(kept) / len(kept), error, num - 2 * cut - 1)


def mean_location(values: Sequence[float]) -> Location:
    """The ordinary mean with its t interval: `trimmed_location` without trimming. ValueError below two values."""
    num = len(values)
    _cut(num, 0.0)
    mean = math.fsum(values) / num
    spread = math.sqrt(math.fsum([(value - mean) ** 2 for value in values]) / (num - 1))
    return Location(mean, spread / math.sqrt(num), num - 1)


def welch_difference(first: Sequence[float], second: Sequence[float]) -> Location:
    """Mean of `second` minus mean of `first`, variances not assumed equal (Welch 1947). ValueError below two values."""
    a, b = mean_location(first), mean_location(second)
    variance_a, variance_b = a.standard_error**2, b.standard_error**2
    variance = variance_a + variance_b
    if variance == 0:
        return Location(b.mean - a.mean, 0.0, a.df + b.df)
    df = variance**2 / (variance_a**2 / a.df + variance_b**2 / b.df)
    return Location(b.mean - a.mean, math.sqrt(variance), df)


def rounds_needed(
    spread: float, effect: float, alpha: float, *, power: float = 0.95, trim: float = TRIM, most: int = 10_000
) -> int | None:
    """Rounds after which a paired trimmed test at `alpha` (two-sided) finds `effect` with probability `power`.

    `spread` is the standard deviation of a round's log ratio as the trimmed mean sees it (standard error times the
    square root of the rounds) and `effect` a log ratio. Uses the non-central t distribution: exact for normal rounds
    without trimming, close with it. None if more than `most`.
    """
    if effect <= 0 or spread < 0:
        raise ValueError("effect must be above 0 and spread not below")
    low, high = 3, 4
    while detection_power(spread, effect, alpha, high, trim=trim) < power:
        low, high = high, high * 2
        if low > most:
            return None
    while low < high:
        middle = (low + high) // 2
        found = detection_power(spread, effect, alpha, middle, trim=trim) >= power
        low, high = (low, middle) if found else (middle + 1, high)
    return low if low <= most else None


def detection_power(spread: float, effect: float, alpha: float, rounds: int, *, trim: float = TRIM) -> float:
    """Probability that `rounds` rounds find `effect`, and its direction, at two-sided `alpha`; see `rounds_needed`."""
    from scipy.special import nctdtr

    df = rounds - 2 * _cut(rounds, trim) - 1
    if spread == 0:
        return 1.0
    shift = effect * math.sqrt(rounds) / spread
    if shift > 30:  # nctdtr loses its digits far out, where the answer is 1
        return 1.0
    return 1.0 - float(nctdtr(df, shift, t_quantile(1 - alpha / 2, df)))


def column_levels(table: "ArrayLike") -> list[float]:
    """Levels of the columns by median polish (Tukey 1977): row levels are removed, and medians resist outliers.

    `table` has a row per turn and a column per arm, in logs, all of them finite. Neither a slow row nor a few slow
    cells move a level. Levels are those of the median row; only their differences matter. ValueError for an empty
    table.
    """
    import numpy as np

    cells = np.asarray(table, dtype=float)
    if cells.ndim != 2 or 0 in cells.shape:
        raise ValueError("levels need at least one row and one column")
    columns = np.median(cells, axis=0)
    for _ in range(_SWEEPS):
        rows = np.median(cells - columns, axis=1)
        polished = np.median(cells - rows[:, None], axis=0)
        moved = float(np.abs(polished - columns).max())
        columns = polished
        if moved < _SETTLED:
            break
    return [float(level) for level in columns + np.median(rows)]
