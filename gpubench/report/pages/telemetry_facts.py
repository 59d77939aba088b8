"""What telemetry saw during a case, in words."""

from collections.abc import Mapping
from typing import Any, TypeGuard

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
    low, high = detail.get("sm_clock_min_mhz"), detail.get("sm_clock_max_mhz")
    clocks = f"{low:.0f} to {high:.0f} MHz" if _is_number(low) and _is_number(high) else ""
    total, others = detail.get("memory_total_bytes"), detail.get("other_processes")
    if others is None:
        processes = str(detail.get("other_processes_absent") or "")
    else:
        processes = count(len(others), "process", "processes") if others else "none"
    readings, coverage = detail.get("num_readings"), detail.get("coverage")
    covered = f", {format_percent(coverage, decimals=0)} of the window" if _is_number(coverage) else ""
    texts = (
        ("Energy", _energy(detail)),
        ("Idle power", _number(detail, "idle_power_w", "W")),
        ("Power limit", _number(detail, "power_limit_w", "W")),
        ("SM clock", clocks),
        ("Clocks held by a setting", {True: "yes", False: "no"}.get(detail.get("clocks_held_by_setting"), "")),  # type: ignore[arg-type]
        ("Held down", _throttle(detail)),
        ("Memory temperature", _number(detail, "memory_temperature_c", "°C")),
        ("Device memory", format_bytes(total) if _is_number(total) else ""),
        ("Other processes", processes),
        ("Readings", f"{readings}{covered}" if isinstance(readings, int) else ""),
    )
    return tuple(Fact(name, line(text)) for name, text in texts if text)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float)


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
    return f"{value:.0f} {unit}" if _is_number(value) else ""


def _throttle(detail: Mapping[str, Any]) -> str:
    shares = detail.get("throttle_share_by_reason") or {}
    known = {name: share for name, share in shares.items() if _is_number(share)}
    held = [
        f"{format_percent(share)} by {THROTTLE_REASONS.get(name, name)}" for name, share in known.items() if share > 0
    ]
    return ", ".join(held) if held else "never" if known else ""
