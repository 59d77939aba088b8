"""Memory: what each case held, and the largest batch that fits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import GIB, MIB, format_bytes, format_number, format_percent, group_digits
from gpubench.report.model.report_model import Chart, Datum, Line, Section, line, strong
from gpubench.report.model.words import count, joined
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.contests import Contest, batch_of, by_batch, largest_that_fits
from gpubench.report.view.run_view import View

METRICS_SHOWN = (
    "peak_memory_allocated_bytes",
    "peak_memory_reserved_bytes",
    "process_memory_bytes",
    "device_memory_used_bytes",
    "peak_rss_bytes",
    "allocator_retries",
)


def largest_batches(summaries: Sequence[CaseSummary]) -> tuple[Line, ...]:
    """For settings of which some batch ran out of memory: the largest that fits, and what the next one asked for. A
    batch that was searched for (`max`) stands in no such row.

    Settings of one precision and place that end at the same batch are said once.
    """
    blocks: dict[str, list[CaseSummary]] = {}
    for entry in (each for each in summaries if each.case.batch_size != "max"):
        rest = {name: value for name, value in entry.case.settings.items() if name != "batch_size"}
        blocks.setdefault(json.dumps(rest, sort_keys=True), []).append(entry)
    alike: dict[tuple[object, ...], list[Line]] = {}
    for block in blocks.values():
        for said in _largest(block):
            alike.setdefault(_outcome(block), []).append(said)
    return tuple(_with_others(found) for found in alike.values())


def _outcome(block: Sequence[CaseSummary]) -> tuple[object, ...]:
    case = block[0].case
    ends = sorted((batch_of(entry), entry.status is Status.OOM) for entry in block)
    return (case.workload, case.mode, case.device, case.precision, *ends)


def _with_others(found: Sequence[Line]) -> Line:
    others = len(found) - 1
    return (*found[0], *line(f" So do {count(others, 'other setting')} of this precision." if others else ""))


def _largest(block: Sequence[CaseSummary]) -> list[Line]:
    ooms = [entry for entry in block if entry.status is Status.OOM]
    if not ooms:
        return []
    first = min(ooms, key=lambda entry: entry.case.batch)
    fits = [entry for entry in block if entry.status is Status.OK and entry.case.batch < first.case.batch]
    what = f"ran out of memory at batch {batch_of(first)}{_sizes(first)}"
    if not fits:
        return [line(strong(first.label), f" {what}; no smaller batch was measured.")]
    best = max(fits, key=lambda entry: entry.case.batch)
    held = best.metrics.get("peak_memory_allocated_bytes")
    used = f" ({format_bytes(held.value)} allocated at its peak)" if held else ""
    return [line(strong(best.label), f": batch {batch_of(best)} is the largest that fits{used}; the same {what}.")]


def _sizes(entry: CaseSummary) -> str:
    failure = next((record.failure for record in entry.records if record.failure is not None), None)
    if failure is None:
        return ""
    parts = [f"in {failure.phase}"]
    if failure.requested_bytes is not None:
        parts.append(f"asking for {format_bytes(failure.requested_bytes)}")
    if failure.free_bytes is not None:
        parts.append(f"with {format_bytes(failure.free_bytes)} free")
    if failure.total_bytes is not None:
        parts.append(f"of {format_bytes(failure.total_bytes)}")
    return f" ({' '.join(parts)})"


_STRAIGHT = 0.05
"""Trials that lie farther from the line than this are said to."""


def found_batches(summaries: Sequence[CaseSummary]) -> tuple[Line, ...]:
    """A line per case with `batch_size: max` that found one."""
    told = ((entry, search_of(entry)) for entry in summaries)
    return tuple(_found_line(entry, facts) for entry, facts in told if facts is not None)


def search_of(entry: CaseSummary) -> Mapping[str, Any] | None:
    """What the worker's search left in the case's first launch: batch, headroom, limit, trials."""
    found = [
        record.effective.extra["largest_batch"]
        for record in entry.ok_records
        if record.effective is not None and "largest_batch" in record.effective.extra
    ]
    return found[0] if found else None


def _found_line(entry: CaseSummary, facts: Mapping[str, Any]) -> Line:
    batch, headroom = int(facts["batch"]), format_percent(facts["headroom"], decimals=0)
    return line(
        strong(entry.label),
        ": batch ",
        strong(group_digits(str(batch))),
        f" is the largest whose whole step fits into {format_bytes(facts['limit_bytes'])}, which leaves "
        f"{headroom} of the free memory alone",
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


_KINDS = (("peak_memory_allocated_bytes", "allocated"), ("peak_memory_reserved_bytes", "reserved"))
_RSS = (("peak_rss_bytes", "resident"),)
_NEAR = 0.25
"""From this share of the device's memory on, its limit is drawn: below, it would press the lines flat."""


def memory_chart(contest: Contest) -> Chart | None:
    """None where no precision's memory is known at two batch sizes or more."""
    on_cpu = contest.first.device_type == "cpu"
    kinds = _RSS if on_cpu else _KINDS
    lines = by_batch(contest)
    rows = tuple(
        row for precision, line in lines.items() for name, kind in kinds for row in _rows(precision, line, name, kind)
    )
    sizes = {(row[0], row[5]): 0 for row in rows}
    for row in rows:
        sizes[row[0], row[5]] += row[2] is not None
    if max(sizes.values(), default=0) < 2:
        return None
    device = None if on_cpu else _device_gib(contest.cases)
    near = device is not None and max(float(row[2] or 0.0) for row in rows) >= _NEAR * device
    finding = _finding(contest, lines, kinds[0][0])
    what = "resident memory of the process above its start" if on_cpu else "peak memory"
    dashed = "" if on_cpu else " Solid lines are live tensors, dashed ones what the allocator took from the driver."
    ran_out = any(row[6] == "OOM" for row in rows)
    has = f" The device has {device:.1f} GiB." if device else ""
    has = " The rule is the memory of the device." if near else has
    return Chart(
        key=f"memory-{contest.key}",
        form="lines",
        title=f"{contest.subject}: {finding}",
        reading=(
            f"Each line is one precision's {what}; lower leaves room for a larger "
            f"batch.{dashed}{has}{' The cross marks a batch that ran out.' if ran_out else ''}"
        ),
        alt=f"Line chart of memory in GiB against batch size by precision. {contest.subject}: {finding}.",
        columns=("precision", "batch size", "GiB", "low", "high", "line", "standing", "other settings"),
        rows=rows,
        options={"x_scale": "log2", "limit": device if near else None, "limit_label": "device memory"},
    )


def _rows(precision: str, line: Sequence[CaseSummary], name: str, kind: str) -> list[tuple[Datum, ...]]:
    rows: list[tuple[Datum, ...]] = []
    for entry in line:
        if name in entry.metrics:
            value = entry.metrics[name].value / GIB
            rows.append((precision, batch_of(entry), value, None, None, kind, "valid", ""))
        elif entry.status is Status.OOM and kind == "allocated":
            rows.append((precision, batch_of(entry), None, None, None, kind, "OOM", ""))
    return rows


def _device_gib(cases: Sequence[CaseSummary]) -> float | None:
    """Memory of the device in GiB, as an OOM or the telemetry names it."""
    for entry in cases:
        for record in entry.records:
            known = record.failure.total_bytes if record.failure else (record.telemetry or {}).get("memory_total_bytes")
            if known:
                return float(known) / GIB
    return None


def _finding(contest: Contest, lines: dict[str, list[CaseSummary]], name: str) -> str:
    """Which batch fits, where one did not; else what a sample costs in the leanest and the hungriest precision."""
    fits = [text for precision in lines if (text := largest_that_fits(contest, precision))]
    if fits:
        return joined(fits)
    costs = {precision: cost for precision, line in lines.items() if (cost := _per_sample(line, name)) is not None}
    if not costs:
        return "memory by batch size"
    least, most = min(costs, key=lambda key: costs[key]), max(costs, key=lambda key: costs[key])
    if len(costs) == 1 or costs[most] < 1.02 * costs[least]:
        return f"one more sample costs {format_number(costs[most])} MiB"
    return (
        f"one more sample costs {format_number(costs[least])} MiB in {least}, {format_number(costs[most])} MiB "
        f"in {most}"
    )


def _per_sample(line: Sequence[CaseSummary], name: str) -> float | None:
    """MiB per sample between the smallest and the largest batch; None for one batch, or where memory does not grow."""
    known = [(batch_of(entry), entry.metrics[name].value) for entry in line if name in entry.metrics]
    if len(known) < 2:
        return None
    (first, low), (last, high) = known[0], known[-1]
    return (high - low) / (last - first) / MIB if high > low else None


def section(view: View) -> Section:
    found = metrics_section(view, "memory", "Memory", METRICS_SHOWN)
    said = (*found_batches(view.summary.cases), *largest_batches(view.summary.cases), *found.lines)
    return replace(found, lines=said, charts=view.chart_each(memory_chart))
