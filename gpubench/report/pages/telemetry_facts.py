"""What telemetry saw during a case, in words."""

from collections.abc import Mapping
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_bytes, format_percent
from gpubench.report.model.report_model import Fact, line
from gpubench.report.model.words import THROTTLE_REASONS, count

_SOURCES = {"counter_ticks": "the energy counter, interpolated between its ticks"}


def telemetry_facts(entry: CaseSummary) -> tuple[Fact, ...]:
    """Of the first launch that has any; empty where nothing was recorded."""
    detail = next((record.telemetry for record in entry.ok_records if record.telemetry), None)
    if not detail:
        return ()
    if detail.get("available") is False:
        return (Fact("Telemetry", line(f"none: {detail.get('reason') or 'no reason was recorded'}")),)
    texts = (
        ("Energy", _energy(detail)),
        ("Idle power", _number(detail, "idle_power_w", "W")),
        ("Power limit", _number(detail, "power_limit_w", "W")),
        ("SM clock", _range(detail, "sm_clock_min_mhz", "sm_clock_max_mhz", "MHz")),
        ("Clocks held by a setting", {True: "yes", False: "no"}.get(detail.get("clocks_held_by_setting"), "")),  # type: ignore[arg-type]
        ("Held down", _throttle(detail)),
        ("Memory temperature", _number(detail, "memory_temperature_c", "°C")),
        ("Device memory", _bytes(detail)),
        ("Other processes", _processes(detail)),
        ("Readings", _coverage(detail)),
    )
    return tuple(Fact(name, line(text)) for name, text in texts if text)


def _energy(detail: Mapping[str, Any]) -> str:
    source = str(detail.get("energy_source") or "")
    if not source:
        return ""
    parts = [f"from {_SOURCES.get(source, source.replace('_', ' '))}"]
    if detail.get("energy_uncertainty_pct") is not None:
        parts.append(f"±{detail['energy_uncertainty_pct']:.1f}% over this window")
    if detail.get("energy_valid") is False:
        parts.append(f"not valid ({detail.get('energy_invalid_reason') or 'no reason was recorded'})")
    return ", ".join(parts)


def _number(detail: Mapping[str, Any], name: str, unit: str) -> str:
    value = detail.get(name)
    return f"{value:.0f} {unit}" if isinstance(value, int | float) else ""


def _range(detail: Mapping[str, Any], low: str, high: str, unit: str) -> str:
    ends = (detail.get(low), detail.get(high))
    return f"{ends[0]:.0f} to {ends[1]:.0f} {unit}" if all(isinstance(end, int | float) for end in ends) else ""


def _throttle(detail: Mapping[str, Any]) -> str:
    shares = detail.get("throttle_share_by_reason") or {}
    known = {name: share for name, share in shares.items() if isinstance(share, int | float)}
    held = [
        f"{format_percent(share)} by {THROTTLE_REASONS.get(name, name)}" for name, share in known.items() if share > 0
    ]
    return ", ".join(held) if held else "never" if known else ""


def _bytes(detail: Mapping[str, Any]) -> str:
    total = detail.get("memory_total_bytes")
    return format_bytes(total) if isinstance(total, int | float) else ""


def _processes(detail: Mapping[str, Any]) -> str:
    others = detail.get("other_processes")
    if others is None:
        return str(detail.get("other_processes_absent") or "")
    return count(len(others), "process", "processes") if others else "none"


def _coverage(detail: Mapping[str, Any]) -> str:
    number, coverage = detail.get("num_readings"), detail.get("coverage")
    if not isinstance(number, int):
        return ""
    share = f", {format_percent(coverage, decimals=0)} of the window" if isinstance(coverage, int | float) else ""
    return f"{number}{share}"
