"""The change of one metric of one case, as words and cells."""

import math
from collections.abc import Mapping
from functools import partial

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.summary.case_summary import CaseSummary, ComparableCase
from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.core.findings import Effect, Validity
from gpubench.core.metrics import METRICS
from gpubench.core.records import Record, Status
from gpubench.core.units import format_number, format_percent, told_apart
from gpubench.report.model.figure_cells import NOT_AVAILABLE, OPEN_TEXT, display_unit, is_open, metric_cell
from gpubench.report.model.report_model import EMPTY, Cell, Tone
from gpubench.report.model.words import count

_SPEED_GROUPS = ("time", "cold")
_KIND_WORDS = {"fixed": "fixed", "added": "added", "removed": "removed", "not_measured": "not measured"}
_END_WORDS = {Status.OOM: "OOM", Status.FAILED: "fails", Status.TIMEOUT: "times out", Status.UNSUPPORTED: "unsupported"}
LEVEL_WORDS = {
    "block": "blocks of steps that alternated in one process, paired by launch",
    "launch": "interleaved launches, paired by round",
    "stored": "stored runs, launches not paired",
    "single": "one process a side",
}
SHORT_LEVELS = {
    "block": "alternating blocks",
    "launch": "interleaved",
    "stored": "stored runs",
    "single": "one process a side",
}


def metric_title(name: str) -> str:
    """`throughput`, `peak memory allocated`: the metric's name without its unit."""
    spec = METRICS[name]
    return name.removesuffix(f"_{spec.unit}").removesuffix("_s").removesuffix("_j").replace("_", " ")


def change_text(moved: MetricChange, limit: float | None = None) -> str:
    """`-7.3% (-7.8, -6.8)`; for shares and accuracies the difference in points, with enough digits to differ from
    `limit`.
    """
    change, spec = moved.change, METRICS[moved.metric]
    if change is None or not math.isfinite(change.value):
        return NOT_AVAILABLE
    if change.unit == "1" and spec.scale == "ratio":
        shares = [each for each in (change.value, change.low, change.high) if each is not None]
        text, *ends = (
            told_apart(each, math.copysign(limit or 0.0, each), partial(format_percent, signed=True))[0]
            for each in shares
        )
        interval = f" ({', '.join(end.removesuffix('%') for end in ends)})"
        if change.high is not None and is_open(1 + change.value, 1 + change.high):
            interval = f" ({OPEN_TEXT})"
        return f"{text}{interval}" if len(ends) == 2 and change.half_width != 0 else text
    unit = "points" if display_unit(spec) == "%" else display_unit(spec)
    factor = spec.display_factor
    half = None if change.half_width is None else change.half_width * factor

    def signed(value: float | None) -> str | None:
        return None if value is None else ("+" if value > 0 else "") + format_number(value * factor, half)

    interval = f" ({signed(change.low)}, {signed(change.high)})" if change.low is not None and half else ""
    return f"{signed(change.value)}{interval}{f' {unit}' if unit else ''}"


def verdict_word(moved: MetricChange) -> str:
    """`slower` and `faster` for times and rates, else `worse` and `better`; `same`, `unclear`."""
    spec = METRICS[moved.metric]
    if spec.group in _SPEED_GROUPS and moved.judgement in ("worse", "better"):
        return "slower" if moved.judgement == "worse" else "faster"
    return moved.judgement


def kind_word(change: CaseChange) -> str:
    """How a case ended, compared with the reference: `now OOM`, `still fails`, `now INVALID`, `crashed in part`,
    `fixed`.
    """
    before, after = change.reference, change.candidate
    if now_invalid(change):
        return "now INVALID"
    if after is not None and after.status in _END_WORDS:
        word = _END_WORDS[after.status]
        if before is None:
            return f"added, {word}"
        if before.status is Status.SKIPPED:
            return word
        return f"{'still' if before.status is after.status else 'now'} {word}"
    if change.kind == "fixed" and _is_invalid(change):
        return "ends, but INVALID"
    if after is not None and after.num_crashed:
        return "crashed in part" if before is not None else "added, crashed in part"
    return _KIND_WORDS.get(change.kind, change.kind)


def ended_badly(change: CaseChange) -> bool:
    """Whether any launch of the candidate crashed, or the case ended worse or differently than in the reference."""
    before, after = change.reference, change.candidate
    if after is None:
        return False
    otherwise = before is not None and before.status not in (after.status, Status.SKIPPED)
    return bool(after.num_crashed) or now_invalid(change) or (otherwise and after.status in _END_WORDS)


def end_reason(change: CaseChange) -> str:
    """The reason for `kind_word`; empty if unknown."""
    before, after = change.reference, change.candidate
    if after is None or after.status is Status.SKIPPED:
        return ""
    reasons = [_why_invalid(after)] if now_invalid(change) or (change.kind == "fixed" and _is_invalid(change)) else []
    if after.num_crashed:
        reasons.append(crash_text(after))
    elif after.status is not Status.OK and after.reason:
        reasons.append(after.reason)
    if change.kind == "fixed" and before is not None and before.reason:
        reasons.append(f"before: {before.reason}")
    return "; ".join(reasons)


def end_text(change: CaseChange) -> str:
    """`now OOM: out of memory in warmup`."""
    reason = end_reason(change)
    return f"{kind_word(change)}: {reason}" if reason else kind_word(change)


def _why_invalid(side: ComparableCase) -> str:
    findings = side.findings if isinstance(side, CaseSummary) else ()
    for found in findings:
        if found.effect == Effect.INVALIDATES:
            return f"{found.message.rstrip('.')} ({found.code})"
    return "its output is wrong" if side.correctness == "fail" else "a finding invalidates its figures"


def crash_text(side: ComparableCase) -> str:
    """`2 of 10 launches crashed: segmentation fault` (the first reason); the reason alone if every launch crashed."""
    crashed = crashed_launches(side)
    num = len(side.records) if isinstance(side, CaseSummary) else 0
    if len(crashed) == num:
        return side.reason or side.status.value
    words = {Status.FAILED: "crashed", Status.TIMEOUT: "ran out of time"}
    how = " or ".join(word for status, word in words.items() if any(record.status is status for record in crashed))
    said = f"{len(crashed)} of {count(num, 'launch', 'launches')} {how}"
    return f"{said}: {crashed[0].reason}" if crashed[0].reason else said


def crashed_launches(side: ComparableCase) -> tuple[Record, ...]:
    """Recorded launches that crashed or ran out of time, in order."""
    return side.crashed_records if isinstance(side, CaseSummary) else ()


def mark(change: CaseChange, moved: MetricChange | None = None) -> str:
    """`-` worse, `+` better, `?` unclear, empty if nothing moved; `!` instead of worse or better if weakened by a
    finding.
    """
    if moved is None:
        return "-" if ended_badly(change) else "+" if change.kind == "fixed" and not _is_invalid(change) else ""
    if now_invalid(change):
        return "-"
    if moved.judgement == "unclear":
        return "?"
    if is_suspect(change):
        return "!"
    return {"worse": "-", "better": "+"}.get(moved.judgement, "")


def tone(change: CaseChange, moved: MetricChange | None = None) -> Tone:
    if "-" in mark(change, moved):
        return "bad"
    if "+" in mark(change, moved):
        return "good"
    if "!" in mark(change, moved):
        return "warning"
    return "muted" if moved is not None and moved.judgement == "unclear" else "plain"


def now_invalid(change: CaseChange) -> bool:
    """Whether the case's figures were usable in the reference, but are not any more."""
    if change.kind != "measured" or change.reference is None:
        return False
    return _is_invalid(change) and change.reference.validity is not Validity.INVALID


def _is_invalid(change: CaseChange) -> bool:
    return change.candidate is not None and change.candidate.validity is Validity.INVALID


def is_suspect(change: CaseChange) -> bool:
    return any(side is not None and side.validity is Validity.SUSPECT for side in (change.reference, change.candidate))


def unverified(change: CaseChange) -> bool:
    """Whether the output of a side was never checked, so that it may be wrong."""
    return any(side is not None and side.correctness == "unverified" for side in (change.reference, change.candidate))


def value_cell(values: Mapping[int, float], metric: str) -> Cell:
    """The metric over launches in its display unit, with digits that follow its interval."""
    if not values:
        return EMPTY
    return metric_cell(metric, {metric: estimate(list(values.values()), METRICS[metric])})


def unit_of(metric: str) -> str:
    return display_unit(METRICS[metric])
