"""What a comparison says of one metric of one case, as words and cells."""

import math
from collections.abc import Mapping

from gpubench.analysis.changes import CaseChange, MetricChange
from gpubench.analysis.estimates import estimate
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Estimate, Status
from gpubench.core.units import format_number, format_percent
from gpubench.report.figures import NOT_AVAILABLE, display_unit, metric_cell
from gpubench.report.model import EMPTY, Cell, Tone

_SPEED_GROUPS = ("time", "cold")
_KIND_WORDS = {
    "now_oom": "now OOM", "now_failed": "now fails", "fixed": "fixed", "added": "added", "removed": "removed",
    "not_measured": "not measured",
}  # fmt: skip
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


def change_text(moved: MetricChange) -> str:
    """`-7.3% (-7.8, -6.8)`; for shares and accuracies the difference in points."""
    if moved.change is None or not math.isfinite(moved.change.value):
        return NOT_AVAILABLE
    spec = METRICS[moved.metric]
    if moved.change.unit == "1" and spec.scale == "ratio":
        return _percents(moved.change)
    return _difference(moved.change, spec)


def _percents(change: Estimate) -> str:
    text = format_percent(change.value, signed=True)
    if change.low is None or change.high is None or change.half_width == 0:
        return text
    low, high = (format_percent(end, signed=True).removesuffix("%") for end in (change.low, change.high))
    return f"{text} ({low}, {high})"


def _difference(change: Estimate, spec: MetricSpec) -> str:
    unit = "points" if display_unit(spec) == "%" else display_unit(spec)
    factor = spec.display_factor
    half = None if change.half_width is None else change.half_width * factor
    value, low, high = (
        None if v is None else _signed(v * factor, half) for v in (change.value, change.low, change.high)
    )
    interval = f" ({low}, {high})" if low is not None and half else ""
    return f"{value}{interval}{f' {unit}' if unit else ''}"


def _signed(value: float, half_width: float | None) -> str:
    return ("+" if value > 0 else "") + format_number(value, half_width)


def verdict_word(moved: MetricChange) -> str:
    """`slower` and `faster` for what is a time or a rate, else `worse` and `better`; `same`, `unclear`."""
    spec = METRICS[moved.metric]
    if spec.group in _SPEED_GROUPS and moved.judgement in ("worse", "better"):
        return "slower" if moved.judgement == "worse" else "faster"
    return moved.judgement


def kind_word(change: CaseChange) -> str:
    return _KIND_WORDS.get(change.kind, change.kind)


def mark(change: CaseChange, moved: MetricChange | None = None) -> str:
    """`-` worse, `+` better, `?` unclear, `!` weakened by a finding, nothing where nothing moved."""
    if moved is None:
        return {"now_oom": "-", "now_failed": "-", "fixed": "+"}.get(change.kind, "")
    if now_invalid(change):
        return "-"
    if moved.judgement == "unclear":
        return "?"
    found = {"worse": "-", "better": "+"}.get(moved.judgement, "")
    return found + ("!" if is_suspect(change) else "")


def tone(change: CaseChange, moved: MetricChange | None = None) -> Tone:
    if "-" in mark(change, moved):
        return "bad"
    if "+" in mark(change, moved):
        return "good"
    return "muted" if moved is not None and moved.judgement == "unclear" else "plain"


def now_invalid(change: CaseChange) -> bool:
    """A case whose figures could be used before, and no longer can."""
    if change.reference is None or change.candidate is None or change.candidate.status is not Status.OK:
        return False
    return change.candidate.validity is Validity.INVALID and change.reference.validity is not Validity.INVALID


def is_suspect(change: CaseChange) -> bool:
    return any(side is not None and side.validity is Validity.SUSPECT for side in (change.reference, change.candidate))


def unverified(change: CaseChange) -> bool:
    """Whether the output of a side was never checked: then it is not known to be right."""
    return any(side is not None and side.correctness == "unverified" for side in (change.reference, change.candidate))


def value_cell(values: Mapping[int, float], metric: str) -> Cell:
    """The metric over launches in its display unit, digits following its interval."""
    if not values:
        return EMPTY
    return metric_cell(metric, {metric: estimate(list(values.values()), METRICS[metric])})


def unit_of(metric: str) -> str:
    return display_unit(METRICS[metric])
