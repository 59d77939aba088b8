"""Memory: what each case held, and the largest batch that fits."""

import json
from collections.abc import Sequence

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import format_bytes
from gpubench.report.model.report_model import Line, line, strong
from gpubench.report.model.words import count
from gpubench.report.topics.contests import Contest, batch_of

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


def largest_that_fits(contest: Contest, precision: str) -> str:
    """`fp32 fits batch 256 and not 1024`; empty where nothing ran out. The smallest batch that did not fit counts."""
    mine = [entry for entry in contest.cases if entry.case.precision == precision]
    ooms = [batch_of(entry) for entry in mine if entry.status is Status.OOM]
    fits = [batch_of(entry) for entry in mine if entry.status is Status.OK]
    fits = [batch for batch in fits if ooms and batch < min(ooms)]
    if not ooms:
        return ""
    return (
        f"{precision} fits batch {max(fits)} and not {min(ooms)}"
        if fits
        else f"{precision} does not fit batch {min(ooms)}"
    )


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
