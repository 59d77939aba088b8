"""Memory: the peak of each case, and the largest batch that fits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpubench.analysis.insight.decision import batch_of
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import GIB, MIB, format_bytes, format_number, format_percent, group_digits
from gpubench.report.model.report_model import Chart, Datum, Line, Section, line, strong
from gpubench.report.model.words import count, joined
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.contests import Contest, by_batch, largest_that_fits
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
    batch that was searched for (`max`) is left out.

    Settings of one precision and place that end at the same batch share a line.
    """
    blocks: dict[str, list[CaseSummary]] = {}
    for entry in (each for each in summaries if each.case.batch_size != "max"):
        rest = {name: value for name, value in entry.case.settings.items() if name != "batch_size"}
        blocks.setdefault(json.dumps(rest, sort_keys=True), []).append(entry)
    alike: dict[tuple[object, ...], list[Line]] = {}
    for block in blocks.values():
        case = block[0].case
        ends = sorted((batch_of(entry), entry.status is Status.OOM) for entry in block)
        for said in _largest(block):
            alike.setdefault((case.workload, case.mode, case.device, case.precision, *ends), []).append(said)
    others = (
        f" So do {count(len(found) - 1, 'other setting')} of this precision." if len(found) > 1 else ""
        for found in alike.values()
    )
    return tuple((*found[0], *line(more)) for found, more in zip(alike.values(), others, strict=True))


def _largest(block: Sequence[CaseSummary]) -> list[Line]:
    ooms = [entry for entry in block if entry.status is Status.OOM]
    if not ooms:
        return []
    first = min(ooms, key=lambda entry: entry.case.batch)
    fits = [entry for entry in block if entry.status is Status.OK and entry.case.batch < first.case.batch]
    failure = next((record.failure for record in first.records if record.failure is not None), None)
    asked = "" if failure is None else f" (in {failure.phase}"
    if failure is not None:
        sizes = (
            ("asking for {}", failure.requested_bytes),
            ("with {} free", failure.free_bytes),
            ("of {}", failure.total_bytes),
        )
        asked += "".join(f" {said.format(format_bytes(size))}" for said, size in sizes if size is not None) + ")"
    what = f"ran out of memory at batch {batch_of(first)}{asked}"
    if not fits:
        return [line(strong(first.label), f" {what}; no smaller batch was measured.")]
    best = max(fits, key=lambda entry: entry.case.batch)
    held = best.metrics.get("peak_memory_allocated_bytes")
    used = f" ({format_bytes(held.value)} allocated at its peak)" if held else ""
    return [line(strong(best.label), f": batch {batch_of(best)} is the largest that fits{used}; the same {what}.")]


_STRAIGHT = 0.05
"""Trials farther from the line than this are named."""


def found_batches(summaries: Sequence[CaseSummary]) -> tuple[Line, ...]:
    """A line per case with `batch_size: max` that found one: the batch, what is left free, what a sample costs."""
    found = []
    for entry in summaries:
        facts = search_of(entry)
        if facts is None:
            continue
        batch, headroom = int(facts["batch"]), format_percent(facts["headroom"], decimals=0)
        slope, fixed = entry.metrics.get("memory_per_sample_bytes"), entry.metrics.get("memory_fixed_bytes")
        cost, deviation = "", facts.get("line_deviation") or 0.0
        if slope is not None and fixed is not None:
            bent = f" (trials lie up to {format_percent(deviation)} from that line)" if deviation > _STRAIGHT else ""
            cost = f": {format_bytes(slope.value)} a sample on top of {format_bytes(fixed.value)}{bent}"
        which = f"whose whole step fits into {format_bytes(facts['limit_bytes'])}, which leaves {headroom} of the free"
        which = f"{which} memory alone{cost}."
        if not facts.get("ended_by_memory", True):
            which = f"that runs, though memory is not the limit{cost}."
        said = line(
            strong(entry.label),
            ": batch ",
            strong(group_digits(str(batch))),
            f" is the largest {which} Batch {group_digits(str(batch + 1))}: {facts['next_fails_with']}",
        )
        found.append(said)
    return tuple(found)


def search_of(entry: CaseSummary) -> Mapping[str, Any] | None:
    """What the worker's search left in the case's first launch: batch, headroom, limit, trials."""
    found = [
        record.effective.extra["largest_batch"]
        for record in entry.ok_records
        if record.effective is not None and "largest_batch" in record.effective.extra
    ]
    return found[0] if found else None


_KINDS = (("peak_memory_allocated_bytes", "allocated"), ("peak_memory_reserved_bytes", "reserved"))
_RSS = (("peak_rss_bytes", "resident"),)
_NEAR = 0.25
"""The device's limit is drawn if memory use reaches this share of it; otherwise it would flatten the lines."""


def memory_chart(contest: Contest) -> Chart | None:
    """Memory against batch size; None if no precision's memory is known at two batch sizes or more."""
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
    # The memory of the device, from an OOM or the telemetry.
    totals = (
        record.failure.total_bytes if record.failure else (record.telemetry or {}).get("memory_total_bytes")
        for entry in contest.cases
        for record in entry.records
    )
    device = None if on_cpu else next((float(total) / GIB for total in totals if total), None)
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


def _finding(contest: Contest, lines: dict[str, list[CaseSummary]], name: str) -> str:
    """Which batch fits, if one did not; else the cost of a sample in the leanest and the hungriest precision."""
    fits = [text for precision in lines if (text := largest_that_fits(contest, precision))]
    if fits:
        return joined(fits)
    costs = {}  # MiB per sample between the smallest and the largest batch, where memory grows
    for precision, entries in lines.items():
        known = [(batch_of(entry), entry.metrics[name].value) for entry in entries if name in entry.metrics]
        if len(known) > 1 and known[-1][1] > known[0][1]:
            costs[precision] = (known[-1][1] - known[0][1]) / (known[-1][0] - known[0][0]) / MIB
    if not costs:
        return "memory by batch size"
    least, most = min(costs, key=lambda key: costs[key]), max(costs, key=lambda key: costs[key])
    if len(costs) == 1 or costs[most] < 1.02 * costs[least]:
        return f"one more sample costs {format_number(costs[most])} MiB"
    return (
        f"one more sample costs {format_number(costs[least])} MiB in {least}, {format_number(costs[most])} MiB "
        f"in {most}"
    )


def section(view: View) -> Section:
    found = metrics_section(view, "memory", "Memory", METRICS_SHOWN)
    said = (*found_batches(view.summary.cases), *largest_batches(view.summary.cases), *found.lines)
    return replace(found, lines=said, charts=view.chart_each(memory_chart))
