"""Decide when the median of a launch is precise enough."""

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpubench.stats.autocorrelation import autocorrelation_time
from gpubench.stats.median_interval import median_interval
from gpubench.stats.warmup import warmup_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Reason = Literal["converged", "max_time", "max_steps", "continue"]

LOOK_GROWTH = 1.25
TAUS_NEEDED = 30.0
LOOKS_NEEDED = 2


class StopDecision(NamedTuple):
    """The result of one look at the series. Times in seconds; counts are of timed groups.

    `rel_half_width` is half the 95 % interval of the median over the median; None if the effective sample is too small
    for an interval.
    """

    stop: bool
    reason: Reason
    num_warmup: int
    median_s: float
    rel_half_width: float | None
    n_effective: float
    tau: float


class Precision(NamedTuple):
    """The precision of a steady series' median. `interval` in the unit of the series."""

    median: float
    interval: tuple[float, float] | None
    rel_half_width: float | None
    tau: float
    n_effective: float

    def reaches(self, target_rel_ci: float) -> bool:
        """Half-width at most the target, and a series of at least 30 autocorrelation times."""
        enough = self.n_effective >= TAUS_NEEDED
        return enough and self.rel_half_width is not None and self.rel_half_width <= target_rel_ci


def precision_of_median(steady_times: "ArrayLike") -> Precision:
    """Median, order-statistic interval and effective sample of a series without its warm-up. ValueError if empty."""
    import numpy as np

    t = np.asarray(steady_times, dtype=float)
    if t.size == 0:
        raise ValueError("no steady steps")
    median = float(np.median(t))
    tau = autocorrelation_time(t)
    interval = median_interval(t, t.size / tau)
    rel_half_width = None if interval is None else (interval[1] - interval[0]) / 2 / median
    return Precision(median, interval, rel_half_width, tau, t.size / tau)


class StoppingRule:
    """Looks at n = `min_steps`, then every x1.25; stops when two looks in a row find the median precise enough.

    Precise enough: half-width of the 95 % order-statistic interval at most `target_rel_ci` of the median, and at least
    30 autocorrelation times of steady steps. Two looks in a row, because a single look at a 95 % interval, repeated
    until it passes, covers far less than 95 %. Times in seconds; `min_steps` and `max_steps` count timed groups.
    `min_time_s` is time of the series after its warm-up, `max_time_s` counts from the first step on, whether it is part
    of the series or not. The limits win over everything. `next_look`: groups at which the next look is due.
    """

    def __init__(
        self,
        target_rel_ci: float = 0.01,
        min_time_s: float = 2.0,
        max_time_s: float = 20.0,
        min_steps: int = 50,
        max_steps: int = 100_000,
    ) -> None:
        self.target_rel_ci = target_rel_ci
        self.min_time_s = min_time_s
        self.max_time_s = max_time_s
        self.max_steps = max_steps
        self.next_look = max(1, min(min_steps, max_steps))
        self._passed = 0

    def due(self, num_groups: int, elapsed_s: float) -> bool:
        """Whether `look` should be called now: two comparisons, cheap enough for every step."""
        return num_groups >= self.next_look or elapsed_s >= self.max_time_s

    def look(self, step_times_s: "ArrayLike", elapsed_s: float, *, series_s: float | None = None) -> StopDecision:
        """Judge the series so far (every timed group in order, warm-up included; seconds per step).

        `elapsed_s` is the time since the first step. `series_s` is the total time of the groups in the series, less
        than that if first steps or pauses are not part of it; None means `elapsed_s`. Costs a few milliseconds, so call
        it when `due`, between blocks. ValueError for an empty series.
        """
        import numpy as np

        t = np.asarray(step_times_s, dtype=float)
        num_warmup = warmup_length(t)
        found = precision_of_median(t[num_warmup:])
        self._passed = self._passed + 1 if found.reaches(self.target_rel_ci) else 0
        series_s = elapsed_s if series_s is None else series_s
        steady_s = series_s * float(t[num_warmup:].sum() / t.sum())
        reason: Reason = "continue"
        if self._passed >= LOOKS_NEEDED and steady_s >= self.min_time_s:
            reason = "converged"
        elif elapsed_s >= self.max_time_s:
            reason = "max_time"
        elif t.size >= self.max_steps:
            reason = "max_steps"
        num_more = math.ceil(t.size * (LOOK_GROWTH - 1))
        if self._passed >= LOOKS_NEEDED:
            # Only min_time is missing: look again when it is reached, not a quarter of the series later.
            num_more = min(num_more, math.ceil((self.min_time_s - steady_s) * t.size / series_s))
        self.next_look = t.size + max(1, min(num_more, self.max_steps - t.size))
        return StopDecision(
            reason != "continue", reason, num_warmup, found.median, found.rel_half_width, found.n_effective, found.tau
        )
