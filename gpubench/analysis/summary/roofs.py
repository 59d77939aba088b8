"""The memory roof of a case, which is the ceiling of its mix of reads and writes, and the cases above their roof."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gpubench.analysis.summary.measured_ceilings import (
    Ceiling,
    CeilingDevice,
    Ceilings,
    Quantity,
    device_of,
    is_operator,
)
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Estimate
from gpubench.core.units import format_percent
from gpubench.store.run_info import RunInfo
from gpubench.suite.model.precisions import PRECISIONS

if TYPE_CHECKING:
    from gpubench.analysis.summary.case_summary import CaseSummary

MIXES: dict[Quantity, tuple[str, float]] = {
    "memory_write": ("write", 0.0),
    "memory": ("copy", 1 / 2),
    "memory_triad": ("triad", 2 / 3),
    "memory_read": ("read", 1.0),
}
"""The measured mixes: what each is called, and the share of its bytes that is read; in the order of that share."""

_SAME = 0.005


class MemoryRoof(NamedTuple):
    """`bandwidth` in bytes/s and its interval's upper end; `mix` names the ceilings that it comes from."""

    bandwidth: float
    high: float
    mix: str


def memory_ceilings(ceilings: Ceilings, device: CeilingDevice | None) -> dict[Quantity, Ceiling]:
    found = {quantity: ceilings.get(device, quantity) for quantity in MIXES}
    return {quantity: ceiling for quantity, ceiling in found.items() if ceiling is not None}


def memory_roof(ceilings: Ceilings, device: CeilingDevice | None, read_share: float | None) -> MemoryRoof | None:
    """The most bytes/s for traffic of which `read_share` is read; None without a measured mix.

    Between two measured mixes it is what both allow one after the other: the time per byte is their weighted mean, with
    the weights that give this share. The best of the measured ones where the share is not known, or lies outside them.
    """
    known = [(MIXES[name], ceiling.value) for name, ceiling in memory_ceilings(ceilings, device).items()]
    if not known:
        return None
    if read_share is not None:
        for (name, share), value in known:
            if abs(read_share - share) < _SAME:
                return MemoryRoof(value.value, _high(value), name)
        for ((low_name, low), below), ((high_name, high), above) in pairwise(known):
            if low < read_share < high:
                part = (read_share - low) / (high - low)
                ends = [
                    1 / ((1 - part) / first + part / second)
                    for first, second in ((below.value, above.value), (_high(below), _high(above)))
                ]
                return MemoryRoof(ends[0], ends[1], f"{low_name} and {high_name}")
    (name, _), best = max(known, key=lambda each: each[1].value)
    return MemoryRoof(best.value, _high(best), f"the best: {name}")


def _high(value: Estimate) -> float:
    return value.value if value.high is None else value.high


def with_findings_above_roofs(
    info: RunInfo, entries: Sequence["CaseSummary"], ceilings: Ceilings
) -> list["CaseSummary"]:
    """The cases, with GB215 and GB217 for those above what their device can do. Call it after `judge_by_peaks`."""
    if not any(ceilings):
        return list(entries)
    return [
        replace(entry, findings=(*entry.findings, *found)) if (found := _above(entry, ceilings, info)) else entry
        for entry in entries
    ]


def _above(entry: "CaseSummary", ceilings: Ceilings, info: RunInfo) -> list[Finding]:
    if is_operator(entry.case) or not entry.usable or entry.case.world_size > 1:
        return []
    device = device_of(entry, info.environment)
    found = (_above_arithmetic(entry, ceilings, device), _above_memory(entry, ceilings, device))
    return [each for each in found if each is not None]


def _above_arithmetic(entry: "CaseSummary", ceilings: Ceilings, device: CeilingDevice | None) -> Finding | None:
    """Fusing saves bytes, never FLOPs: the ceiling or the count is wrong."""
    achieved, peak = entry.metrics.get("achieved_flops"), ceilings.arithmetic_roof(entry, device)
    if achieved is None or achieved.low is None or peak is None or achieved.low <= _high(peak.value):
        return None
    share = achieved.value / peak.value.value
    return finding(
        "GB215",
        f"It reached {format_percent(share, decimals=0)} of the ceiling measured for "
        f"{PRECISIONS[entry.case.precision].ceiling} on this device: "
        "that is too low, or the FLOPs of the case are counted wrong.",
        mfu=share,
    )


def _above_memory(entry: "CaseSummary", ceilings: Ceilings, device: CeilingDevice | None) -> Finding | None:
    """By the bytes that no cache can have saved, of a case whose operators are not fused."""
    streamed, rate = entry.metrics.get("streamed_bytes_per_sample"), entry.metrics.get("throughput")
    share = entry.metrics.get("bytes_read_share")
    roof = memory_roof(ceilings, device, None if share is None else share.value)
    if entry.case.compile != "off" or streamed is None or rate is None or rate.low is None or roof is None:
        return None
    if streamed.value * rate.low <= roof.high:
        return None
    of_roof = streamed.value * rate.value / roof.bandwidth
    return finding(
        "GB217",
        f"At least {format_percent(of_roof, decimals=0)} of the memory bandwidth measured on this device "
        f"({roof.mix}) passed through memory, though nothing is fused: the ceiling is too low, or the bytes of the "
        "case are counted wrong.",
        of_roof=of_roof,
        mix=roof.mix,
    )
