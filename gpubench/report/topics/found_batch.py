"""What the search for the largest batch found: the batch, what a sample costs, and why the next one does not fit."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_bytes, format_percent, group_digits
from gpubench.report.model.report_model import Line, line, strong

_STRAIGHT = 0.05
"""Trials that lie farther from the line than this are said to."""


def found_batches(summaries: Sequence[CaseSummary]) -> tuple[Line, ...]:
    """A line per case with `batch_size: max` that found one."""
    told = ((entry, search_of(entry)) for entry in summaries)
    return tuple(_line(entry, facts) for entry, facts in told if facts is not None)


def search_of(entry: CaseSummary) -> Mapping[str, Any] | None:
    """What the worker's search left in the case's first launch: batch, headroom, limit, trials."""
    found = [
        record.effective.extra["largest_batch"]
        for record in entry.ok_records
        if record.effective is not None and "largest_batch" in record.effective.extra
    ]
    return found[0] if found else None


def _line(entry: CaseSummary, facts: Mapping[str, Any]) -> Line:
    batch, headroom = int(facts["batch"]), format_percent(facts["headroom"], decimals=0)
    return line(
        strong(entry.label),
        ": batch ",
        strong(group_digits(str(batch))),
        f" is the largest whose whole step fits into {format_bytes(facts['limit_bytes'])}, which leaves {headroom} of the free memory alone",
        _cost(entry, facts),
        f". Batch {group_digits(str(batch + 1))}: {facts['next_fails_with']}",
    )


def _cost(entry: CaseSummary, facts: Mapping[str, Any]) -> str:
    """`: 45 MiB a sample on top of 1.2 GiB`; with how far the trials lie from that line where it is not straight."""
    slope, fixed = entry.metrics.get("memory_per_sample_bytes"), entry.metrics.get("memory_fixed_bytes")
    if slope is None or fixed is None:
        return ""
    deviation = facts.get("line_deviation") or 0.0
    bent = f" (trials lie up to {format_percent(deviation)} from that line)" if deviation > _STRAIGHT else ""
    return f": {format_bytes(slope.value)} a sample on top of {format_bytes(fixed.value)}{bent}"
