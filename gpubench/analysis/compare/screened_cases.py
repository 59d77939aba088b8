"""Judge the speeds of many cases together: all had the same rounds, those that looked changed had fresh ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gpubench.analysis.compare.case_changes import STEP_METRICS, CaseChange, ratio_change, round_log_ratios
from gpubench.analysis.verdict.judge import Comparison
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.many_comparisons import Arms, judge_suite, screen
from gpubench.core.metrics import METRICS

LEAST_ROUNDS = 3
"""The fewest that a trimmed mean with its error needs."""


def judge_screened(
    changes: Sequence[CaseChange], screen_rounds: int, settings: CompareSettings
) -> tuple[CaseChange, ...]:
    """The same changes with their speeds judged as a suite, under control of the false discovery rate.

    Suspects are judged on their rounds after `screen_rounds` alone; one without fresh rounds is `unclear`.
    """
    judged = list(changes)
    for metric in sorted({name for change in changes for name in change.changes if name in STEP_METRICS}):
        logs, levels = {}, {}
        for at, change in enumerate(judged):
            moved = change.changes.get(metric)
            if moved is not None and moved.comparison is not None and change.reference and change.candidate:
                rounds, levels[at] = round_log_ratios(METRICS[metric], change.reference, change.candidate)
                logs[str(at)] = rounds
        for name, found in _verdicts(logs, screen_rounds, settings).items():
            at = int(name)
            moved = ratio_change(METRICS[metric], replace(found, level=levels[at]))
            judged[at] = replace(judged[at], changes={**judged[at].changes, metric: moved})
    return tuple(judged)


def looks_changed(logs: Sequence[float], settings: CompareSettings) -> bool:
    """Whether a case with these log ratios in its screening rounds must be measured again."""
    return len(logs) >= LEAST_ROUNDS and bool(screen({"case": _arms(logs)}, settings))


def _verdicts(
    logs: Mapping[str, Mapping[int, float]], screen_rounds: int, settings: CompareSettings
) -> dict[str, Comparison]:
    """From each case's log ratios by round."""
    screened: dict[str, Arms] = {}
    fresh: dict[str, Arms] = {}
    for name, rounds in logs.items():
        first = [value for repeat, value in rounds.items() if repeat <= screen_rounds]
        later = [value for repeat, value in rounds.items() if repeat > screen_rounds]
        if len(first) >= LEAST_ROUNDS:
            screened[name] = _arms(first)
            fresh |= {name: _arms(later)} if len(later) >= LEAST_ROUNDS else {}
    waiting = {suspect.name: suspect for suspect in screen(screened, settings) if suspect.name not in fresh}
    confirmed = judge_suite(
        {name: arms for name, arms in screened.items() if name not in waiting},
        lambda names: {name: fresh[name] for name in names},
        settings,
    )
    for name, suspect in waiting.items():
        alone = judge_suite({name: screened[name]}, lambda names: {each: screened[each] for each in names}, settings)
        reason = f"looks {suspect.direction} in its first rounds; the fresh ones that would tell are missing"
        confirmed[name] = replace(alone[name], verdict="unclear", reason=reason)
    return confirmed


def _arms(logs: Sequence[float]) -> Arms:
    """Log ratios as rounds of one step each."""
    return [[1.0]] * len(logs), [[math.exp(value)] for value in logs]
