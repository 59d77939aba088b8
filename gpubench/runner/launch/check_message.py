"""Checks that a child's message is plausible, because its figures are stored, drawn and compared.

A workload may write to any file descriptor of its process, and memory may be corrupt. An impossible message makes the
launch a failed row; it never ends the run. The types of messages already check the bounds of single figures.
"""

import math
from collections.abc import Iterable

from gpubench.core.records import Series
from gpubench.protocol.messages import Failed, Job, Message, Phase, Progress, Result

MOST_BYTES = 1 << 20
"""Largest message as JSON, without its series. Real ones have up to some 20 kB of settings, findings and metrics."""

MOST_NAME = 100
MOST_MARKS = 1000


def problem(message: Message, job: Job) -> str | None:
    """What is impossible about a message of `job`'s child; None if nothing is."""
    if isinstance(message, Phase):
        return None if _is_name(message.name) and math.isfinite(message.at_s) else "a phase without a proper name"
    if isinstance(message, Progress):
        shown = (message.step_time_s, message.rel_half_width, message.fraction)
        return None if _finite(shown) else "progress that is not a number"
    if isinstance(message, Failed):
        return _too_large(message)
    if isinstance(message, Result):
        if job.seats is not None:  # a fleet's are made by this process, one for each card
            message = message.model_copy(update={"ranks": ()})
        return _of_result(message, job)
    return None


def _of_result(result: Result, job: Job) -> str | None:
    measures = bool(result.arms) if job.kind == "blocks" else (result.series or result.quality) is not None
    if job.kind == "contest":
        return _of_contest(result, job) or _of_figures(result)
    if not measures and not result.interrupted:
        return "a result without figures"
    if result.arms and len(result.arms) != len(job.arms):
        return f"figures of {len(result.arms)} arms, where {len(job.arms)} were asked for"
    for each in (result, *result.arms):
        found = _of_figures(each)
        if found is None and each is not result and each.series is None:
            found = "an arm without figures"
        if found is not None:
            return found
    return None


def _of_contest(result: Result, job: Job) -> str | None:
    turns = result.turns
    if turns is None:
        return None if result.interrupted else "a contest without turns"
    if turns.log_speeds.keys() != {arm.name for arm in job.arms} or turns.num_turns < 1:
        return "turns of other arms than were asked for"
    return None if _finite((*turns.log_speeds.values(), turns.twin)) else "speeds that are no numbers"


def _of_figures(result: Result) -> str | None:
    if result.window is not None and result.window.start_s > result.window.end_s:
        return f"a window from {result.window.start_s} to {result.window.end_s}"
    if result.series is not None and not _is_series(result.series):
        return f"a series with the median {result.series.median_s} ({result.series.low_s} to {result.series.high_s})"
    if not _finite(result.step_times_s) or min(result.step_times_s, default=0.0) < 0:
        return "step times that are no times"
    if not _finite((result.block_log_ratio,)):
        return f"a ratio of {result.block_log_ratio}"
    if len(result.marks) > MOST_MARKS or not all(_is_name(name) for name in (*result.marks, *result.metrics)):
        return "marks or metrics without proper names"
    if any(not _finite(values) for values in result.marks.values()) or any(
        len(result.marks.get(name, (0, 0))) != 2 for name in ("idle_s", "burst_s")
    ):
        return "marks that are no times"
    return _too_large(result)


def _is_series(series: Series) -> bool:
    low, high = series.low_s, series.high_s
    return low <= high if low is not None and high is not None else low is high


def _too_large(message: Result | Failed) -> str | None:
    size = len(message.model_dump_json(exclude={"step_times_s", "marks", "arms"}))
    return f"{size} bytes beside its series" if size > MOST_BYTES else None


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MOST_NAME and name.isprintable() and "/" not in name


def _finite(values: Iterable[float | None]) -> bool:
    return all(value is None or math.isfinite(value) for value in values)
