"""Is one arm slower than the other? Judged on rounds: one launch of each arm, back to back in random order.

`compare_rounds` judges complete data, `SequentialComparison` the same data as they are measured; both look at the same
rounds by the same rule and give the same verdict.

    >>> from gpubench.analysis.verdict.interleaved_rounds import CompareSettings, compare_rounds
    >>> base = [[0.100, 0.101, 0.100], [0.102, 0.101, 0.103], [0.099, 0.100, 0.100]] * 2
    >>> head = [[1.1 * t for t in steps] for steps in base]
    >>> found = compare_rounds(base, head, CompareSettings(sesoi=0.03))
    >>> found.verdict, round(found.ratio, 3), found.rounds
    ('slower', 1.1, 5)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpubench.analysis.verdict.judge import Comparison, Verdict, judge, round_log_ratio, too_few
from gpubench.analysis.verdict.judge_settings import CompareSettings, Look
from gpubench.stats.estimators import t_quantile, trimmed_moments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["CompareSettings", "Comparison", "SequentialComparison", "Verdict", "compare_log_ratios", "compare_rounds"]


Rounds = Sequence[Sequence[float]]


def compare_rounds(reference: Rounds, candidate: Rounds, settings: CompareSettings | None = None) -> Comparison:
    """Judge two arms from their rounds: `reference[r]` and `candidate[r]` hold the step times, in seconds, of round r.

    Give steady steps (warm-up removed). A round's value is the log ratio of the two medians, so that what both arms
    share (machine, session, temperature) cancels. Looks go through the rounds in order, as in a sequential comparison,
    and the first with a verdict ends it: the result's `rounds` may be fewer than given. At each look, Yuen's paired
    test on 20 %-trimmed means:

    * `slower` or `faster`: significant at the level this look may spend, and at least half of `sesoi`; * `same`:
    changes of `sesoi` and more are ruled out (equivalence, not absence of evidence; Schuirmann 1987); * otherwise
    continue to the next look; after the last one `unclear`.

    The replication is the round, not the step: steps of a launch share its memory layout and algorithm choices, and
    tests that pool them raise false alarms (Kalibera and Jones 2013, "Rigorous benchmarking in reasonable time").
    Interleaving: Bulej et al. 2020, "Duet benchmarking". Rounds are assumed independent: run the arms of each in random
    order, so that a trend shared by both cancels. ValueError for arms of different length, or a round without steps or
    with a time that is not finite and positive.
    """
    if len(reference) != len(candidate):
        raise ValueError(f"the arms must have as many rounds: {len(reference)} and {len(candidate)}")
    logs = [round_log_ratio(ours, theirs) for ours, theirs in zip(reference, candidate, strict=True)]
    return compare_log_ratios(logs, settings)


def compare_log_ratios(logs: Sequence[float], settings: CompareSettings | None = None) -> Comparison:
    """`compare_rounds` from each round's log ratio (candidate over reference), in the order measured.

    ValueError for one that is not finite.
    """
    if not all(math.isfinite(value) for value in logs):
        raise ValueError("the log ratio of a round must be finite")
    chosen = settings or CompareSettings()
    found = too_few(logs, chosen)
    for look in chosen.passes(len(logs)):
        found = judge(logs[: look.rounds], chosen, look)
        if found.verdict != "unclear":
            break
    return found


class SequentialComparison:
    """Add rounds until `verdict` is no longer None; then the case may leave the schedule.

    Looks only at the rounds in `settings`, so reading `verdict` after every round causes no false alarms (looking at
    every round at 1 % causes 5 to 7 %). Rounds added after the verdict are not used.
    """

    def __init__(self, settings: CompareSettings | None = None) -> None:
        self.settings = settings or CompareSettings()
        self._looks = {look.rounds: look for look in self.settings.schedule()}
        self._logs: list[float] = []
        self._settled: Comparison | None = None

    def add_round(self, reference_steps: "ArrayLike", candidate_steps: "ArrayLike") -> Verdict | None:
        """Adds the steady step times of both arms, in seconds, and returns `verdict`. ValueError for bad times."""
        value = round_log_ratio(reference_steps, candidate_steps)
        if self._settled is not None:
            return self.verdict
        self._logs.append(value)
        look = self._looks.get(len(self._logs))
        if look is not None:
            found = judge(self._logs, self.settings, look)
            if found.verdict != "unclear" or len(self._logs) == self.settings.max_rounds:
                self._settled = found
        return self.verdict

    @property
    def verdict(self) -> Verdict | None:
        """None while undecided; `unclear` only once `max_rounds` are used up."""
        return None if self._settled is None else self._settled.verdict

    @property
    def rounds(self) -> int:
        """Rounds used so far."""
        return len(self._logs)

    @property
    def result(self) -> Comparison:
        """The settled comparison; before that, the one if measuring ended now."""
        if self._settled is not None:
            return self._settled
        schedule = self.settings.schedule(len(self._logs))
        return judge(self._logs, self.settings, schedule[-1]) if schedule else too_few(self._logs, self.settings)


@dataclass(frozen=True)
class SimulatedVerdicts:
    """Verdicts of many comparisons at once: verdicts, interval ends (as ratios), rounds used."""

    verdict: "NDArray[np.str_]"
    low: "FloatArray"
    high: "FloatArray"
    rounds: "NDArray[np.int_]"


def judge_many(logs: "FloatArray", settings: CompareSettings | None = None) -> SimulatedVerdicts:
    """`compare_log_ratios` on every row of `logs` (comparisons, rounds): the same rule, a thousand times faster."""
    import numpy as np

    chosen = settings or CompareSettings()
    num, rounds = logs.shape
    out = SimulatedVerdicts(np.full(num, "unclear"), np.zeros(num), np.zeros(num), np.zeros(num, dtype=int))
    for look in chosen.passes(rounds):
        verdict, low, high = _look_many(logs[:, : look.rounds], chosen, look)
        undecided = out.verdict == "unclear"
        out.verdict[undecided] = verdict[undecided]
        out.low[undecided], out.high[undecided] = np.exp(low[undecided]), np.exp(high[undecided])
        out.rounds[undecided] = look.rounds
    return out


def _look_many(
    logs: "FloatArray", settings: CompareSettings, look: Look
) -> tuple["NDArray[np.str_]", "FloatArray", "FloatArray"]:
    import numpy as np
    from scipy.special import stdtr

    limit = math.log1p(settings.sesoi)
    mean, error, df = trimmed_moments(logs, settings.trim)
    error = np.maximum(error, settings.least_spread / math.sqrt(logs.shape[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        significant = np.where(error > 0, 2 * stdtr(df, -np.abs(mean) / error) <= look.alpha, mean != 0)
    reach = t_quantile(1 - min(look.beta, (1 - settings.interval_level) / 2), df) * error
    same = (mean - reach > -limit) & (mean + reach < limit)
    word = np.where(same, "same", "unclear")
    word = np.where(significant & (np.abs(mean) >= limit / 2), np.where(mean > 0, "slower", "faster"), word)
    shown = t_quantile(0.5 + settings.interval_level / 2, df) * error
    return word, mean - shown, mean + shown
