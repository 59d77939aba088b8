"""One look at the rounds of a comparison: estimate, test, verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gpubench.analysis.verdict.judge_settings import CompareSettings, Look
from gpubench.core.units import format_percent, format_significant, told_apart
from gpubench.stats.estimators import Location, bounded_exp, rounds_needed, trimmed_location

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Verdict = Literal["slower", "faster", "same", "unclear"]
Level = Literal["block", "launch", "stored", "single"]
"""How arms were measured, strongest first: alternating blocks, launches in turn, separate runs, one process per
side.
"""


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    `ratio` is candidate over reference step time (1.03: the candidate takes 3 % longer), with the 95 % interval `low`
    .. `high`, from `rounds` rounds. `p_value` is two-sided, for "no change", at the deciding look, and `alpha` the
    level spent there (None before the first look). `rounds_needed` of an unclear comparison is the total number of
    rounds that would find an effect of `sesoi` 95 times in 100; None if that is unaffordable, and before the first
    look. `level` says how the arms were measured.
    """

    verdict: Verdict
    ratio: float
    low: float | None
    high: float | None
    rounds: int
    reason: str
    settings: CompareSettings
    p_value: float | None = None
    alpha: float | None = None
    rounds_needed: int | None = None
    level: Level | None = None
    location: Location | None = field(default=None, repr=False)

    @property
    def change(self) -> float:
        """Relative change of step time: ratio - 1."""
        return self.ratio - 1


def round_log_ratio(reference_steps: "ArrayLike", candidate_steps: "ArrayLike") -> float:
    """Log ratio of the medians of one round's step times."""
    import numpy as np

    medians = []
    for steps in (reference_steps, candidate_steps):
        t = np.asarray(steps, dtype=float)
        if t.ndim != 1 or t.size == 0:
            raise ValueError("a round must be a list of at least one step time")
        if not np.isfinite(t).all() or t.min() <= 0:
            raise ValueError("step times must be finite and positive seconds")
        low, high = np.sort(t)[[(t.size - 1) // 2, t.size // 2]]
        medians.append(float(low + (high - low) / 2))  # (low + high) / 2 may be more than a float holds
    return math.log(medians[1]) - math.log(medians[0])


def located(logs: Sequence[float], settings: CompareSettings) -> Location:
    """Trimmed mean of rounds, with an error no smaller than that of the least spread."""
    found = trimmed_location(logs, settings.trim)
    return found._replace(standard_error=max(found.standard_error, settings.least_spread / math.sqrt(len(logs))))


def judge(logs: Sequence[float], settings: CompareSettings, look: Look) -> Comparison:
    """One look at the log ratios of some rounds. `unclear` here means: not settled by this look."""
    found = located(logs, settings)
    low, high = found.interval(settings.interval_level)
    verdict, reason = _verdict(found, settings, look)
    needed = None
    if verdict == "unclear":
        spread, last = found.standard_error * math.sqrt(len(logs)), settings.schedule()[-1]
        needed = rounds_needed(spread, math.log1p(settings.sesoi), last.alpha, trim=settings.trim)
    percents = " to ".join(format_percent(bounded_exp(end) - 1, signed=True) for end in (low, high))
    return Comparison(
        verdict,
        bounded_exp(found.mean),
        bounded_exp(low),
        bounded_exp(high),
        len(logs),
        f"{percents}: {reason}",
        settings,
        p_value=found.p_value(),
        alpha=look.alpha,
        rounds_needed=None if needed is None else max(needed, len(logs) + 1),
        location=found,
    )


def _verdict(found: Location, settings: CompareSettings, look: Look) -> tuple[Verdict, str]:
    limit = math.log1p(settings.sesoi)
    p_value = found.p_value()
    significant = p_value <= look.alpha
    if significant and abs(found.mean) >= limit / 2:
        word: Verdict = "slower" if found.mean > 0 else "faster"
        p_text, alpha = told_apart(p_value, look.alpha, format_significant)
        return word, f"significant at this look (p = {p_text}; {alpha} may be spent)"
    # Two one-sided tests against -+ sesoi (Schuirmann 1987), each at what this look may spend, but at most at the level
    # of the reported interval, so that the interval of a `same` lies inside -+ sesoi.
    low, high = found.interval(1 - 2 * min(look.beta, (1 - settings.interval_level) / 2))
    if -limit < low and high < limit:
        small = " (a real difference, smaller than half of it)" if significant else ""
        return "same", f"a change of {format_percent(settings.sesoi)} is ruled out{small}"
    why = "smaller than half the effect of interest" if significant else "not significant"
    return "unclear", f"{why}, and a change of {format_percent(settings.sesoi)} is not ruled out"


def too_few(logs: Sequence[float], settings: CompareSettings) -> Comparison:
    """Not enough rounds for a first look: a ratio, an interval from two rounds on, and never a verdict."""
    first = settings.schedule()[0].rounds
    found = located(logs, settings) if len(logs) > 1 else None
    mean = found.mean if found else logs[0] if logs else math.nan
    low, high = (bounded_exp(end) for end in found.interval(settings.interval_level)) if found else (None, None)
    reason = f"{len(logs)} of the {first} rounds that the first look needs"
    return Comparison("unclear", bounded_exp(mean), low, high, len(logs), reason, settings, location=found)
