"""The output of `gpubench stat`."""

import shlex
from collections.abc import Iterator, Sequence

from gpubench.analysis.summary.program_figures import (
    DeviceFigures,
    ProgramFigures,
    ProgramSummary,
    summarise_device,
    summarise_program,
)
from gpubench.analysis.verdict.judge import Comparison
from gpubench.core.records import Estimate
from gpubench.core.secrets import hide_secrets
from gpubench.core.units import format_bytes, format_number, format_percent
from gpubench.report.model.inert_text import inert
from gpubench.report.model.words import THROTTLE_REASONS, count, joined

_TITLE = 16
_DIGITS = 1e-3
"""The precision to print, as a share of the figure, unless its interval is wider."""

_WIDE = 0.25
"""Half-width, as a share, above which an interval is written out."""

_TIMES = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "us"))
_POWERS = ((1e3, 1e-3, "k"), (1.0, 1.0, ""), (0.0, 1e3, "m"))


def shown(command: Sequence[str]) -> str:
    """A command line for printing: quoted, on one line, with secrets withheld."""
    return inert(shlex.join(hide_secrets(list(command))))


def program_lines(command: Sequence[str], runs: Sequence[ProgramFigures], why_no_device: str) -> list[str]:
    """The figures of a command, a line each."""
    own = summarise_program(runs)
    failed = [run.exit_status for run in runs if run.exit_status]
    facts = [count(len(runs), "run")] if len(runs) > 1 else []
    some = f"{len(failed)} with " if len(failed) < len(runs) else ""
    facts += [f"{some}exit status {joined([str(each) for each in dict.fromkeys(failed)])}"] if failed else []
    how = f" ({', '.join(facts)})" if facts else ""
    lines = [f"{shown(command)}{how}", ""]
    lines += [_line(title, text) for title, text in _own_figures(own)]
    missing = dict(own.absent) | ({"device": why_no_device} if why_no_device else {})
    for key in dict.fromkeys(key for run in runs for key in run.devices):
        devices = [run.devices[key] for run in runs if key in run.devices]
        found = summarise_device(runs, key)
        lines += ["", f"  {inert(devices[0].name)} {inert(key)}"]
        lines += [_line(title, text, "    ") for title, text in _device_figures(found, devices)]
        if "energy_j" in found.absent:
            missing[f"energy of {key}"] = found.absent["energy_j"]
    reasons: dict[str, list[str]] = {}
    for name, why in missing.items():
        reasons.setdefault(why, []).append(_MISSING.get(name, name.replace("_", " ")))
    notes = [f"no {joined(names)}: {inert(why)}" for why, names in reasons.items()]
    left = max(run.left_running for run in runs)
    if left:
        notes.append(f"{count(left, 'process', 'processes')} of the program still running: not counted after its end")
    return [*lines, *(["", *(f"  note: {note}" for note in notes)] if notes else [])]


_MISSING = {
    "cpu_energy_j": "CPU energy",
    "device": "device figures",
    "peak_memory_bytes": "peak memory",
    "largest_process_bytes": "peak of the largest process",
}


def verdict_line(candidate: Sequence[str], reference: Sequence[str], found: Comparison) -> str:
    """`./new takes 12.1% less time than ./old (10.4 to 13.8%): faster, after 6 rounds`."""
    direction = "less" if found.ratio < 1 else "more"
    change = format_percent(abs(found.change))
    ends = ""
    if found.low is not None and found.high is not None:
        low, high = (format_percent(each - 1, signed=True) for each in (found.low, found.high))
        ends = f" ({low} to {high})"
    verdict = found.verdict if found.verdict != "same" else f"same within {format_percent(found.settings.sesoi)}"
    more = f"; about {found.rounds_needed} rounds would tell" if found.rounds_needed else ""
    return (
        f"{shown(candidate)} takes {change} {direction} time than {shown(reference)}{ends}: "
        f"{verdict} after {count(found.rounds, 'round')}{more if found.verdict == 'unclear' else ''}"
    )


def _line(title: str, text: str, indent: str = "  ") -> str:
    return f"{indent}{title:<{_TITLE}} {text}"


def _own_figures(own: ProgramSummary) -> Iterator[tuple[str, str]]:
    found = own.metrics
    yield "wall time", _scaled(found["wall_s"], _TIMES)
    times = f"{_scaled(found['user_s'], _TIMES)} user, {_scaled(found['system_s'], _TIMES)} system"
    yield "CPU time", f"{times} ({found['cpus'].value:.2f} CPUs busy)"
    if "peak_memory_bytes" in found:
        num = round(found["num_processes"].value)
        largest = found.get("largest_process_bytes")
        more = "" if largest is None else f", the largest {format_bytes(largest.value)}"
        several = f" in {num} processes{more}" if num > 1 else ""
        yield "peak memory", format_bytes(found["peak_memory_bytes"].value) + several
    if "cpu_energy_j" in found:
        energy = found["cpu_energy_j"]
        yield "CPU energy", f"{_scaled(energy, _POWERS, 'J')}, {_watts(energy.value / found['wall_s'].value)} mean"


def _device_figures(found: ProgramSummary, devices: Sequence[DeviceFigures]) -> Iterator[tuple[str, str]]:
    metrics = found.metrics
    if "energy_j" in metrics:
        yield "energy", _scaled(metrics["energy_j"], _POWERS, "J") + _doubt(devices)
    if "mean_power_w" in metrics:
        peak = f", {_watts(metrics['peak_power_w'].value)} peak" if "peak_power_w" in metrics else ""
        yield "power", f"{_watts(metrics['mean_power_w'].value)} mean{peak}"
    if "device_memory_used_bytes" in metrics:
        own = metrics.get("process_memory_bytes")
        more = "" if own is None else f", {format_bytes(own.value)} more than before the program"
        yield "memory", f"{format_bytes(metrics['device_memory_used_bytes'].value)} in use at most{more}"
    if "utilization" in metrics:
        yield "utilization", format_percent(metrics["utilization"].value)
    if "sm_clock_mhz" in metrics:
        lows = [each.detail["sm_clock_min_mhz"] for each in devices if "sm_clock_min_mhz" in each.detail]
        highs = [each.detail["sm_clock_max_mhz"] for each in devices if "sm_clock_max_mhz" in each.detail]
        ends = f" ({min(lows):.0f} to {max(highs):.0f})" if lows and highs else ""
        yield "SM clock", f"{metrics['sm_clock_mhz'].value:.0f} MHz mean{ends}"
    if "throttle_share" in metrics:
        reasons: dict[str, float] = {}
        for each in devices:
            for name, share in (each.detail.get("throttle_share_by_reason") or {}).items():
                reasons[name] = max(reasons.get(name, 0.0), share or 0.0)
        named = ", ".join(THROTTLE_REASONS.get(name, name) for name, share in reasons.items() if share)
        share = metrics["throttle_share"].value
        yield "throttled", f"{format_percent(share)} of the time{f' ({named})' if named and share else ''}"


def _doubt(devices: Sequence[DeviceFigures]) -> str:
    """The uncertainty of an energy figure, or why it is only an indication."""
    invalid = next(
        (each.detail.get("energy_invalid_reason") for each in devices if not each.detail["energy_valid"]), None
    )
    if invalid is not None or not all(each.detail["energy_valid"] for each in devices):
        return f", an indication only: {invalid or 'not valid'}"
    worst = max((each.detail.get("energy_uncertainty_pct") or 0.0 for each in devices), default=0.0)
    return f" (readings: ±{format_percent(worst / 100)})" if worst else ""


def _watts(watts: float) -> str:
    return f"{format_number(watts, _DIGITS * abs(watts))} W"


def _scaled(found: Estimate, scales: Sequence[tuple[float, float, str]], unit: str = "") -> str:
    """`12.31 s ±0.4%` in a unit that fits the number."""
    _, factor, name = next((each for each in scales if abs(found.value) >= each[0]), scales[-1])
    half = found.half_width
    digits = _DIGITS * abs(found.value) if half is None else max(half, _DIGITS * abs(found.value))
    spread = ""
    if found.rel_half_width is not None and found.rel_half_width <= _WIDE:
        spread = f" ±{format_percent(found.rel_half_width)}"
    elif found.low is not None and found.high is not None:
        low, high = (format_number(max(0.0, end) * factor, digits * factor) for end in (found.low, found.high))
        spread = f" ({low} to {high})"
    return f"{format_number(found.value * factor, digits * factor)} {name}{unit}{spread}"
