"""Throttling in a window: share of time by reason, from the driver's time counters or sampled reasons."""

from typing import NamedTuple

from gpubench.core.findings import Finding, finding
from gpubench.telemetry.devices.base import THROTTLE_REASONS
from gpubench.telemetry.sampling.reading_history import Cut
from gpubench.telemetry.window.counter_ticks import Curve

REASON_BITS = {"power_cap": 0x4, "sync_boost": 0x10, "sw_thermal": 0x20, "hw_thermal": 0x40, "power_brake": 0x80}
"""Bits of NVML's clocks-event reasons (nvml.h)."""

CLOCKS_SET_BIT = 0x2
"""Clocks are held by an application-clocks or locked-clocks setting."""

_HARDWARE_BIT = 0x8
_SHOWN = 0.01
_CONTRADICTION = 0.2
_CODES_AND_NAMES = {
    "power_cap": ("GB402", "the power limit"),
    "sync_boost": ("GB403", "sync boost"),
    "sw_thermal": ("GB403", "heat (software slowdown)"),
    "hw_thermal": ("GB404", "critical heat (hardware slowdown)"),
    "power_brake": ("GB404", "the board's power brake"),
}


class Throttling(NamedTuple):
    """`share` of the window in which clocks were held down for any reason, and `by_reason`. Units: shares of 1."""

    share: float | None
    by_reason: dict[str, float | None]
    source: str | None
    findings: tuple[Finding, ...]


def throttling(cut: Cut, start_s: float, end_s: float) -> Throttling:
    """From the time counters, if the card has them, else from sampled reasons.

    Reasons may overlap: `share` is the largest part, or the sampled union if that is larger. A counter that stood still
    while its reason was set in at least a fifth of the readings is not believed.
    """
    sampled, union = _sampled(cut, start_s, end_s)
    by_reason: dict[str, float | None] = {}
    sources = set()
    for reason in THROTTLE_REASONS:
        counted, seen = _counted(cut, reason, start_s, end_s), sampled.get(reason)
        trusted = counted is not None and (seen is None or seen - counted < _CONTRADICTION)
        by_reason[reason] = counted if trusted else seen
        if by_reason[reason] is not None:
            sources.add("time counters" if trusted else "sampled reasons")
    shares = [share for share in (*by_reason.values(), union) if share is not None]
    if not shares:
        return Throttling(None, by_reason, None, ())
    found = []
    for reason, (code, name) in _CODES_AND_NAMES.items():
        share = by_reason[reason]
        if share is not None and share > _SHOWN:
            message = f"Clocks were held down by {name} for {share:.0%} of the window."
            found.append(finding(code, message, reason=reason, share=share))
    return Throttling(max(shares), by_reason, " and ".join(sorted(sources)), tuple(found))


def _counted(cut: Cut, reason: str, start_s: float, end_s: float) -> float | None:
    """Share of the window by the time counter, interpolated to the edges.

    None if readings cover less than half of the window, after a reset, or if it runs faster than time (so not in the
    documented unit).
    """
    points = [(at_s, value) for at_s, _, value in cut.points(f"throttle_{reason}_s")]
    if len(points) < 2 or points[-1][0] - points[0][0] < 0.5 * (end_s - start_s):
        return None
    first_s, last_s = max(start_s, points[0][0]), min(end_s, points[-1][0])
    held_s = Curve(points).between(first_s, last_s) if first_s < last_s else None
    share = -1.0 if held_s is None else held_s / (last_s - first_s)
    return min(1.0, share) if 0 <= share <= 1.1 else None


def _sampled(cut: Cut, start_s: float, end_s: float) -> tuple[dict[str, float], float | None]:
    """(share of readings with each reason set, with any of them set); empty and None without readings."""
    masks = [int(mask) for mask in cut.values("reasons", start_s, end_s)]
    if not masks:
        return {}, None
    shares = {reason: sum(bool(mask & bit) for mask in masks) / len(masks) for reason, bit in REASON_BITS.items()}
    any_bit = sum(REASON_BITS.values()) | _HARDWARE_BIT
    return shares, sum(bool(mask & any_bit) for mask in masks) / len(masks)
