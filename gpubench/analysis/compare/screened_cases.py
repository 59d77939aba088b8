"""The speed of many cases of one run at once: every case had the same rounds, and those that looked changed had fresh
ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gpubench.analysis.compare.case_changes import (
    STEP_METRICS,
    CaseChange,
    MetricChange,
    ratio_change,
    round_log_ratios,
)
from gpubench.analysis.verdict.judge import Comparison, Level
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.many_comparisons import Arms, judge_suite, screen
from gpubench.core.metrics import METRICS

LEAST_ROUNDS = 3
"""A trimmed mean with its error needs so many."""


def judge_screened(
    changes: Sequence[CaseChange], screen_rounds: int, settings: CompareSettings
) -> tuple[CaseChange, ...]:
    """The same changes with their speeds judged as a suite: suspects on their rounds after `screen_rounds` alone, under
    control of the false discovery rate. A suspect whose fresh rounds are missing is `unclear`.
    """
    judged = list(changes)
    for metric in sorted({name for change in changes for name in change.changes if name in STEP_METRICS}):
        verdicts = _verdicts([_logs_of(change, metric) for change in judged], screen_rounds, settings)
        for at, found in verdicts.items():
            judged[at] = _with(judged[at], metric, found)
    return tuple(judged)


def looks_changed(logs: Sequence[float], settings: CompareSettings) -> bool:
    """Whether a case whose screening rounds gave these log ratios is to be measured again."""
    return len(logs) >= LEAST_ROUNDS and bool(screen({"case": _arms(logs)}, settings))


def _logs_of(change: CaseChange, metric: str) -> tuple[dict[int, float], Level] | None:
    """By round; None where the metric was not judged as a ratio."""
    moved = change.changes.get(metric)
    if moved is None or moved.comparison is None or change.reference is None or change.candidate is None:
        return None
    return round_log_ratios(METRICS[metric], change.reference, change.candidate)


def _verdicts(
    logs: Sequence[tuple[dict[int, float], Level] | None], screen_rounds: int, settings: CompareSettings
) -> dict[int, Comparison]:
    """By position in `logs`."""
    screened: dict[str, Arms] = {}
    fresh: dict[str, Arms] = {}
    for at, found in enumerate(logs):
        if found is None:
            continue
        first = [value for repeat, value in found[0].items() if repeat <= screen_rounds]
        later = [value for repeat, value in found[0].items() if repeat > screen_rounds]
        if len(first) >= LEAST_ROUNDS:
            screened[str(at)] = _arms(first)
            fresh |= {str(at): _arms(later)} if len(later) >= LEAST_ROUNDS else {}
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
    return {int(name): replace(found, level=_level(logs, int(name))) for name, found in confirmed.items()}


def _level(logs: Sequence[tuple[dict[int, float], Level] | None], at: int) -> Level | None:
    found = logs[at]
    return None if found is None else found[1]


def _arms(logs: Sequence[float]) -> Arms:
    """Log ratios as rounds of one step each."""
    return [[1.0]] * len(logs), [[math.exp(value)] for value in logs]


def _with(change: CaseChange, metric: str, found: Comparison) -> CaseChange:
    moved: Mapping[str, MetricChange] = {**change.changes, metric: ratio_change(METRICS[metric], found)}
    return replace(change, changes=moved)
