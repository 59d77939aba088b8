"""Merge the launches of one case: statuses, findings, spread."""

import math
from collections.abc import Sequence

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Record, Status
from gpubench.core.units import format_percent
from gpubench.stats.estimators import mean_location
from gpubench.store.run_info import PlannedCase

_WORST_FIRST = (Status.FAILED, Status.TIMEOUT, Status.OOM, Status.UNSUPPORTED, Status.SKIPPED)
_LEAST_SPREAD = 0.01
_MUCH_MORE = 3.0


def merge_status(planned: PlannedCase, records: Sequence[Record]) -> tuple[Status, str | None]:
    """A case is ok if any launch was, else as its worst launch. The reason names the other ends."""
    if not records:
        return planned.skip_status or Status.SKIPPED, planned.skip_reason or "not measured yet"
    worst = [record for status in _WORST_FIRST for record in records if record.status is status]
    if len(worst) == len(records):
        return worst[0].status, worst[0].reason
    if not worst:
        return Status.OK, None
    ends = ", ".join(dict.fromkeys(record.status.value for record in worst))
    return Status.OK, f"{len(worst)} of {len(records)} launches did not end well ({ends}): {worst[0].reason or ends}"


def merge_findings(records: Sequence[Record]) -> tuple[Finding, ...]:
    """One finding per code, in the order met, with the number of launches that have it unless all do."""
    by_code: dict[str, list[Finding]] = {}
    for record in records:
        for code, entry in {entry.code: entry for entry in record.findings}.items():
            by_code.setdefault(code, []).append(entry)
    total = len(records)
    if total == 1:
        return tuple(entries[0] for entries in by_code.values())
    merged = []
    for first, *others in by_code.values():
        num = 1 + len(others)
        message = first.message + (f" ({num} of {total} launches)" if num < total else "")
        data = {**first.data, "num_launches_with": num, "num_launches": total}
        merged.append(first.model_copy(update={"message": message, "data": data}))
    return tuple(merged)


def spread_finding(ok: Sequence[Record]) -> Finding | None:
    """GB211 if launches differ by more than 1 % and by more than three times what their own steps explain."""
    series = [record.series for record in ok if record.series is not None]
    widths = [(s.high_s - s.low_s) / 2 / s.median_s for s in series if s.low_s is not None and s.high_s is not None]
    if len(series) < 3 or not widths:
        return None
    between = mean_location([math.log(s.median_s) for s in series]).standard_error * math.sqrt(len(series))
    within = sorted(widths)[len(widths) // 2] / 1.96
    if between <= max(_LEAST_SPREAD, _MUCH_MORE * within):
        return None
    return finding(
        "GB211",
        f"Launches vary by {format_percent(between)}, steps within a launch explain {format_percent(within)}.",
        between=between,
        within=within,
    )
