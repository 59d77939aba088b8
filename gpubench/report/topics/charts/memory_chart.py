"""Memory against batch size: what each precision holds, what the allocator took, and what the device has."""

from collections.abc import Sequence

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import GIB, MIB, format_number
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import joined
from gpubench.report.topics.contests import Contest, batch_of, by_batch
from gpubench.report.topics.memory import largest_that_fits

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
    return Chart(
        key=f"memory-{contest.key}",
        form="lines",
        title=f"{contest.subject}: {finding}",
        reading=(
            f"Each line is one precision's {what}; lower leaves room for a larger batch.{dashed}"
            f"{' The rule is the memory of the device.' if near else f' The device has {device:.1f} GiB.' if device else ''}"
            f"{' The cross marks a batch that ran out.' if ran_out else ''}"
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
    return f"one more sample costs {format_number(costs[least])} MiB in {least}, {format_number(costs[most])} MiB in {most}"


def _per_sample(line: Sequence[CaseSummary], name: str) -> float | None:
    """MiB per sample between the smallest and the largest batch; None for one batch, or where memory does not grow."""
    known = [(batch_of(entry), entry.metrics[name].value) for entry in line if name in entry.metrics]
    if len(known) < 2:
        return None
    (first, low), (last, high) = known[0], known[-1]
    return (high - low) / (last - first) / MIB if high > low else None
