"""The arithmetic of alternating blocks: an order for each turn, and what the turns say about two arms.

A turn has one block of every arm, in random order, so that drift (clocks, heat, other programs) affects all of them
alike, and no arm always runs after the same other one.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from gpubench.protocol.messages import SelfCheck
from gpubench.stats.autocorrelation import autocorrelation_time
from gpubench.stats.median_interval import median_interval
from gpubench.stats.warmup import pelt_truncation

CONFIDENCE = 0.994
"""Of the self-check's interval. A false alarm would cost a comparison its strongest level."""

_LEAST_TURNS = 6


@dataclass(frozen=True)
class Turn:
    """Seconds per step of one turn by arm, and the arm that each ran after (None for the first block)."""

    times_s: dict[str, float]
    after: dict[str, str | None]


def orders(names: Sequence[str], seed: int) -> Iterator[list[str]]:
    """A random order of the arms for every turn, without end; the seed is the run's own."""
    order = random.Random(seed)
    while True:
        turn = list(names)
        order.shuffle(turn)
        yield turn


def ratios(turns: Sequence[Turn], reference: str, candidate: str) -> list[float]:
    """Of each turn, the candidate's step time over the reference's."""
    return [turn.times_s[candidate] / turn.times_s[reference] for turn in turns]


def log_ratio(found: Sequence[float]) -> float:
    """The launch's value: the median over its steady turns, as a logarithm. ValueError where there are none."""
    return median(math.log(each) for each in found[num_unsteady(found) :])


def num_unsteady(found: Sequence[float]) -> int:
    """Turns before the ratio is steady: the first, and those before its last level (PELT), at most half of them.

    The arms were warm when the turns began, and what warms up further does so for all of them alike.
    """
    shifted = pelt_truncation([math.log(each) for each in found])
    return min(max(1, shifted), len(found) // 2)


def self_check(turns: Sequence[Turn], reference: str, twin: str) -> SelfCheck | None:
    """The reference against itself; None for too few turns to say anything."""
    if len(turns) < _LEAST_TURNS:
        return None
    found = ratios(turns, reference, twin)
    first = num_unsteady(found)
    steady, logs = turns[first:], [math.log(each) for each in found[first:]]
    interval = median_interval(logs, len(logs) / autocorrelation_time(logs), CONFIDENCE) if len(logs) > 1 else None
    low, high = interval or (None, None)
    effect, p_value = _after_other(steady, logs, reference, twin)
    return SelfCheck(twin=median(logs), low=low, high=high, after_other=effect, p_value=p_value)


def _after_other(
    turns: Sequence[Turn], logs: Sequence[float], reference: str, twin: str
) -> tuple[float | None, float | None]:
    """Turns in which the twin alone ran after another arm, against turns in which the reference alone did.

    Both replicas are the same arm, so half the difference is what the predecessor is worth. Mann and Whitney's test:
    the order was drawn at random, which is all that it needs.
    """
    own = (reference, twin)
    others = [(turn.after[reference] not in own, turn.after[twin] not in own) for turn in turns]
    twin_alone = [log for log, other in zip(logs, others, strict=True) if other == (False, True)]
    reference_alone = [log for log, other in zip(logs, others, strict=True) if other == (True, False)]
    if min(len(twin_alone), len(reference_alone)) < _LEAST_TURNS:
        return None, None
    from scipy.stats import mannwhitneyu

    effect = (median(twin_alone) - median(reference_alone)) / 2
    return effect, float(mannwhitneyu(twin_alone, reference_alone, alternative="two-sided").pvalue)
