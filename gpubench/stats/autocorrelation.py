"""How many values of a series are worth one independent value."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_SOKAL_C = 5.0


def autocorrelation(values: "ArrayLike", max_lag: int | None = None) -> "FloatArray":
    """Biased sample autocorrelation at lags 0 .. max_lag (default: half of the series), by FFT in O(n log n).

    All zeros after lag 0 for a constant series, whose autocorrelation is undefined. ValueError below two values.
    """
    import numpy as np

    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"an autocorrelation needs a series of at least two values, got shape {x.shape}")
    lags = x.size // 2 if max_lag is None else min(max_lag, x.size - 1)
    centred = x - x.mean()
    rho = np.zeros(lags + 1)
    rho[0] = 1.0
    variance = float(centred @ centred)
    # Rounding leaves a residue of a few ulp in a constant series: that is not a signal.
    if variance <= x.size * (np.finfo(float).eps * float(np.abs(x).max())) ** 2:
        return rho
    length = 1 << (2 * x.size - 1).bit_length()
    spectrum = np.fft.rfft(centred, length)
    rho[:] = np.fft.irfft(spectrum * spectrum.conj(), length)[: lags + 1] / variance
    return rho


def geyer_tau(rho: "FloatArray") -> float:
    """Integrated autocorrelation time by Geyer's initial monotone positive sequence, at least 1.

    Sums the pairs rho[2k] + rho[2k+1] until one is negative, each at most the pair before it (Geyer 1992,
    "Practical Markov chain Monte Carlo", section 3.3).
    """
    import numpy as np

    usable = rho[: len(rho) // 2 * 2]
    pairs = usable[0::2] + usable[1::2]
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if negative.size else pairs
    if kept.size == 0:
        return 1.0
    return max(1.0, float(2 * np.minimum.accumulate(kept).sum() - 1))


def sokal_tau(rho: "FloatArray") -> float:
    """Integrated autocorrelation time with Sokal's automatic window, at least 1.

    Sums up to the first lag M with M >= 5 tau(M) (Sokal 1997, "Monte Carlo methods in statistical mechanics", section
    3); the last given lag if none is long enough.
    """
    import numpy as np

    partial = 2 * np.cumsum(rho) - 1
    wide_enough = np.flatnonzero(np.arange(rho.size) >= _SOKAL_C * partial)
    return max(1.0, float(partial[wide_enough[0] if wide_enough.size else -1]))


def autocorrelation_time(times: "ArrayLike") -> float:
    """Integrated autocorrelation time tau of a series of step times, in steps; n / tau is the effective sample.

    The largest of Geyer's and Sokal's estimate on the indicator [t <= median], which is what the variance of a median
    depends on, and Geyer's on t itself, which sees a rare slow burst that the indicator does not. At least 1: step
    times that alternate are not credited with more information than independent ones. 1 below four values.
    """
    import numpy as np

    t = np.asarray(times, dtype=float)
    if t.size < 4:
        return 1.0
    below = autocorrelation(t <= np.median(t))
    return max(geyer_tau(below), sokal_tau(below), geyer_tau(autocorrelation(t)))
