"""Judges many comparisons at once: screen, then confirm with fresh rounds.

With 50 unchanged cases judged one by one, some false alarm is almost certain. Here every case gets the same fixed
number of rounds; those that look changed are measured again, and only the fresh rounds are judged, under control of the
false discovery rate. No p-value depends on a stop chosen by the data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpubench.analysis.verdict.judge import Comparison, judge
from gpubench.analysis.verdict.judge_settings import CompareSettings, Look
from gpubench.stats.estimators import trimmed_location

SCREEN_ROUNDS = 10
SCREEN_ALPHA = 0.05
FALSE_DISCOVERY_RATE = 0.05

Direction = Literal["slower", "faster"]
Logs = Sequence[float]
"""Log ratios of a case's rounds, candidate over reference step time."""


@dataclass(frozen=True)
class Suspect:
    """A case whose screening rounds look changed, with the one-sided p-value of that direction."""

    name: str
    direction: Direction
    p_value: float


def benjamini_hochberg(p_values: Sequence[float], rate: float = FALSE_DISCOVERY_RATE) -> tuple[bool, ...]:
    """Which hypotheses are rejected while the expected share of wrong rejections stays at most `rate`.

    Step-up rule of Benjamini and Hochberg 1995: the k smallest p-values are rejected for the largest k with
    p_(k) <= k / m rate. ValueError for a p-value outside [0, 1].
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError("a p-value must be in [0, 1]")
    ordered = sorted(p_values)
    passing = [k for k, p in enumerate(ordered, start=1) if p <= k / len(ordered) * rate]
    threshold = ordered[passing[-1] - 1] if passing else -1.0
    return tuple(p <= threshold for p in p_values)


def screen(cases: Mapping[str, Logs], settings: CompareSettings | None = None) -> tuple[Suspect, ...]:
    """Cases to measure again: one-sided p below 0.05 in either direction."""
    trim = (settings or CompareSettings()).trim
    suspects = []
    for name, logs in cases.items():
        found = trimmed_location(logs, trim)
        direction: Direction = "slower" if found.mean > 0 else "faster"
        p_value = found.p_above() if direction == "slower" else 1 - found.p_above()
        if p_value < SCREEN_ALPHA:
            suspects.append(Suspect(name, direction, p_value))
    return tuple(suspects)


def judge_suite(
    cases: Mapping[str, Logs],
    confirm: Callable[[tuple[str, ...]], Mapping[str, Logs]],
    settings: CompareSettings | None = None,
) -> dict[str, Comparison]:
    """Verdicts of all cases. `confirm` measures the named cases again and returns their fresh rounds.

    A suspect is `slower` or `faster` if Benjamini-Hochberg at 5 % over the suspects rejects "not in that direction" on
    the fresh rounds, and the effect is at least half of `sesoi`. Estimates of suspects come from the fresh rounds
    alone, because the first ones are biased. Everything else is `same` if changes of `sesoi` are ruled out, or
    `unclear`, as is a suspect without fresh rounds.
    """
    chosen = settings or CompareSettings()
    found_suspects = screen(cases, chosen)
    fresh = confirm(tuple(suspect.name for suspect in found_suspects)) if found_suspects else {}
    verdicts = {name: _without_alarm(logs, chosen) for name, logs in cases.items()}
    for each in found_suspects:
        if each.name not in fresh:
            reason = f"looks {each.direction} in its first rounds; the fresh ones that would tell are missing"
            verdicts[each.name] = replace(verdicts[each.name], verdict="unclear", reason=reason, rounds_needed=None)
    suspects = [each for each in found_suspects if each.name in fresh]
    above = {each.name: trimmed_location(fresh[each.name], chosen.trim).p_above() for each in suspects}
    p_values = [above[each.name] if each.direction == "slower" else 1 - above[each.name] for each in suspects]
    for suspect, p_value, rejected in zip(suspects, p_values, benjamini_hochberg(p_values), strict=True):
        again = fresh[suspect.name]
        if not rejected:
            verdicts[suspect.name] = _without_alarm(again, chosen)
            continue
        # This p-value is known to pass at its false discovery rate: spend exactly that level.
        found = judge(again, chosen, Look(len(again), min(1.0, 2 * p_value), (1 - chosen.confidence) / 2))
        if found.verdict == suspect.direction:
            found = replace(found, reason=f"confirmed by {len(again)} fresh rounds (one-sided p = {p_value:.2g})")
        verdicts[suspect.name] = found
    return verdicts


def _without_alarm(logs: Sequence[float], settings: CompareSettings) -> Comparison:
    """`same` or `unclear`: only the equivalence test has a level to spend."""
    found = judge(logs, settings, Look(len(logs), 0.0, (1 - settings.confidence) / 2))
    if found.verdict in ("slower", "faster"):  # no spread at all: p is exactly 0, but it was not confirmed
        return replace(found, verdict="unclear", reason="changed in the first rounds, not confirmed")
    return found
