"""Which cards of a fleet are slow: those that look slow when all are measured, and again in turn with a healthy card.

Every card runs the same probes. A card's level is its mean log step time over launches, so differences are relative.
The noise of launches is pooled over all cards; how much healthy cards differ comes from the fleet's core
(`stats.healthy_core`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gpubench.analysis.verdict.many_comparisons import benjamini_hochberg
from gpubench.stats.estimators import mean_location, t_quantile, t_tail
from gpubench.stats.healthy_core import FEW_CARDS, LEAST_CARDS, Core, healthy_core

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

SLOWER_THAN = 0.01
FALSE_DISCOVERY_RATE = 0.05
RETEST_ROUNDS = 8
"""Rounds of one launch each of a suspect and a healthy card."""

_MISSED_FIRST, _MISSED_AGAIN = 0.007, 0.01
"""Probability that noise hides a card that is exactly `slower_than` slower: from being suspected, and from being named.
"""

_CHANCE = 0.001
"""Probability that a healthy card is suspected, over all probes together."""

_CHANCE_AMONG_FEW = 0.025
_AGREE = 0.4
"""Small fleets do not show how much their cards usually differ. If their spread is at most this share of `slower_than`,
the excess decides.
"""


class Probe(NamedTuple):
    """One workload on every card: the level of each, and the standard deviation of a launch with its degrees of
    freedom. `errors`: standard errors of the levels.
    """

    levels: "FloatArray"
    errors: "FloatArray"
    launch_sd: float
    df: float


class Screening(NamedTuple):
    """The result of measuring all cards. `excess`: a card's level above the centre of the healthy ones; `suspects`:
    numbers of cards, slowest first; `reference`: the card nearest the centre.
    """

    probe: Probe
    core: Core
    excess: "FloatArray"
    p_values: "FloatArray"
    suspects: tuple[int, ...]
    reference: int


class Retest(NamedTuple):
    """A suspect in turn with the reference. `excess` is from the new launches alone, as selection biases the first
    ones; `low` and `high`: its 99 % bounds, each one-sided; `slow`: whether the suspicion is confirmed.
    """

    excess: float
    low: float
    high: float
    slow: bool


def probe_of(launches: Sequence[Sequence[float]]) -> Probe:
    """From the log step times of each card's launches. The standard deviation is pooled over cards.

    ValueError for fewer than five cards, or if no card has two launches.
    """
    import numpy as np

    if len(launches) < LEAST_CARDS:
        raise ValueError(f"{len(launches)} cards are too few to tell which is the odd one; at least {LEAST_CARDS}")
    squares = sum(float(((np.asarray(each) - np.mean(each)) ** 2).sum()) for each in launches)
    df = sum(len(each) - 1 for each in launches)
    if df < 1:
        raise ValueError("no card was launched twice, so that chance is not known")
    launch_sd = math.sqrt(squares / df)
    levels = np.array([float(np.mean(each)) for each in launches])
    errors = np.array([launch_sd / math.sqrt(len(each)) for each in launches])
    return Probe(levels, errors, launch_sd, float(df))


def screen(probe: Probe, *, slower_than: float = SLOWER_THAN, num_probes: int = 1) -> Screening:
    """Suspects: cards that may be `slower_than` slower than the healthy ones, given the noise of launches, and whose
    excess the spread of healthy cards does not explain (one-sided p at most 1 in 1,000 over all probes).

    Fewer than twenty cards do not show that spread well enough. If they agree to two fifths of `slower_than`, the
    excess decides, with p at most 2.5 %.
    """
    import numpy as np

    core = healthy_core(probe.levels)
    excess = probe.levels - core.centre
    p_values = _p_values(excess, core)
    wide = excess + t_quantile(1 - _MISSED_FIRST, probe.df) * probe.errors >= math.log1p(slower_than)
    odd = p_values <= _CHANCE / num_probes
    if len(excess) < FEW_CARDS:
        odd |= (p_values <= _CHANCE_AMONG_FEW) & (core.spread <= _AGREE * math.log1p(slower_than))
    (found,) = np.nonzero(wide & odd)
    suspects = tuple(int(card) for card in found[np.argsort(-excess[found])])
    return Screening(probe, core, excess, p_values, suspects, int(np.argmin(np.abs(excess))))


def retest(log_ratios: Sequence[float], screening: Screening, slower_than: float = SLOWER_THAN) -> Retest:
    """`log_ratios`: log of the suspect's step time over the reference's, per round. ValueError for fewer than two."""
    location = mean_location(log_ratios)
    known = float(screening.probe.errors[screening.reference])
    excess = location.mean + float(screening.excess[screening.reference])
    reach = t_quantile(1 - _MISSED_AGAIN, location.df) * math.hypot(location.standard_error, known)
    slow = excess - reach > 0 and excess + reach >= math.log1p(slower_than)
    return Retest(excess, excess - reach, excess + reach, slow)


def name_slow(
    screening: Screening, again: Mapping[int, Sequence[float]], *, slower_than: float = SLOWER_THAN, fdr: float
) -> dict[int, Retest]:
    """The suspects that are slow: their retests confirm it, and the p-values of first and new launches together keep
    the expected share of healthy cards among the named ones at most `fdr` (Benjamini and Hochberg 1995, over all
    cards).

    `again`: log ratios of the new rounds by suspect. A suspect without any is not named.
    """
    retests = {card: retest(logs, screening, slower_than) for card, logs in again.items()}
    kept = screening.p_values.copy()
    if len(kept) >= FEW_CARDS:
        for card, each in retests.items():
            kept[card] = _p_of_both(card, each.excess, again[card], screening)
        passes = benjamini_hochberg([float(p) for p in kept], fdr)
        retests = {card: each for card, each in retests.items() if passes[card]}
    return {card: each for card, each in retests.items() if each.slow}


def _p_values(excess: "FloatArray", core: Core) -> "FloatArray":
    """P-value of each card's excess if it were one more healthy card (Student's t for a new observation)."""
    import numpy as np

    spread = core.spread * math.sqrt(1 + 1 / core.num_cards)
    if spread <= 0:
        return np.where(excess > 0, 0.0, 1.0)
    from scipy.special import stdtr

    found: FloatArray = stdtr(core.num_cards - 1, -excess / spread)
    return found


def _p_of_both(card: int, fresh: float, logs: Sequence[float], screening: Screening) -> float:
    """The same for the precision-weighted mean of first and new launches, which is less noisy."""
    probe, core = screening.probe, screening.core
    first_error = float(probe.errors[card])
    fresh_error = math.hypot(probe.launch_sd * math.sqrt(2 / len(logs)), float(probe.errors[screening.reference]))
    if first_error <= 0 or fresh_error <= 0:
        return float(screening.p_values[card])
    weights = first_error**-2, fresh_error**-2
    mean = (weights[0] * float(screening.excess[card]) + weights[1] * fresh) / sum(weights)
    between = max(core.spread**2 - float((probe.errors**2).mean()), 0.0)
    spread = math.sqrt(between + 1 / sum(weights)) * math.sqrt(1 + 1 / core.num_cards)
    return t_tail(mean / spread, float(core.num_cards - 1))
