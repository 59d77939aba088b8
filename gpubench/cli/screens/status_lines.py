"""The lines redrawn while a case runs, as plain text that a golden file can check."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gpubench.core.units import GIB, format_duration, format_number, format_percent
from gpubench.report.model.inert_text import cell_width, inert, shorten
from gpubench.runner.events import LaunchProgress

_LEAST_BAR = 8
_MOST_BAR = 32
_LEAST_LABEL = 12

SEARCHING = "searching"
"""The phase that searches the largest batch: its progress counts samples of the batch being tried."""


@dataclass
class Running:
    """The running launch."""

    label: str = ""
    repeat: int = 1
    repeats: int = 1
    phase: str = "starting"
    progress: LaunchProgress = field(default_factory=lambda: LaunchProgress(0))


@dataclass
class Tally:
    """The run's progress. `elapsed_s` counts from its start; `remaining_s` is None while unknown."""

    num_done: int
    num_launches: int
    elapsed_s: float
    remaining_s: float | None
    counts: dict[str, int] = field(default_factory=dict)


Part = tuple[int, str]
"""(priority, text): 0 always stays; the highest is dropped first if there is no room."""


def status_lines(running: Running | None, tally: Tally, width: int) -> list[str]:
    """Two or three lines of at most `width` characters: the launch, the device if it can be read, the bar."""
    lines = [] if running is None else [launch_line(running, width)]
    device = [] if running is None else device_parts(running.progress.telemetry)
    if device:
        lines.append("  " + join_parts(device, width - 2))
    return [*lines, bar_line(tally, width)]


def launch_line(running: Running, width: int) -> str:
    parts: list[Part] = [(0, inert(running.phase))]
    if running.repeats > 1:
        parts.insert(0, (2, f"launch {running.repeat}/{running.repeats}"))
    parts += _progress(running.progress, "batch" if running.phase == SEARCHING else "step")
    # The label is a name: it may be shortened in its middle, the numbers may not.
    label = inert(running.label)
    text = join_parts(parts, width - 4 - min(cell_width(label), _LEAST_LABEL))
    return f"> {shorten(label, width - 4 - cell_width(text))}  {text}"


def _progress(progress: LaunchProgress, unit: str) -> list[Part]:
    parts: list[Part] = []
    if progress.fraction is not None:
        parts.append((1, f"{progress.fraction:.0%}"))
    if progress.num_steps:
        parts.append((3, f"{unit} {progress.num_steps}"))
    if progress.step_time_s is not None:
        known = progress.rel_half_width is not None and progress.rel_half_width < 1
        half = f" ±{format_percent(progress.rel_half_width or 0.0)}" if known else ""
        width_s = None if progress.rel_half_width is None else progress.rel_half_width * progress.step_time_s * 1e3
        parts.append((1, f"{format_number(progress.step_time_s * 1e3, width_s)} ms{half}"))
        if progress.target_rel_ci is not None and half:
            parts.append((4, f"(stops at ±{format_percent(progress.target_rel_ci)})"))
    return parts


def device_parts(live: dict[str, Any]) -> list[Part]:
    """Readings of the device, without missing ones."""
    parts: list[Part] = []
    if live.get("utilization") is not None:
        parts.append((3, f"GPU {live['utilization']:.0%}"))
    if live.get("memory_used_bytes") is not None:
        total = f" of {live['memory_total_bytes'] / GIB:.1f}" if live.get("memory_total_bytes") else ""
        parts.append((0, f"mem {live['memory_used_bytes'] / GIB:.1f}{total} GiB"))
    for name, unit, rank in (("power_w", "W", 1), ("temperature_c", "C", 4), ("sm_clock_mhz", "MHz", 5)):
        if live.get(name) is not None:
            parts.append((rank, f"{live[name]:.0f} {unit}"))
    return [*parts, (2, inert(str(live["throttle"])))] if live.get("throttle") else parts


def bar_line(tally: Tally, width: int) -> str:
    left = "" if tally.remaining_s is None else f", about {format_duration(tally.remaining_s)} left"
    tail: list[Part] = [
        (0, f"{tally.num_done}/{tally.num_launches} launches"),
        (1, format_duration(tally.elapsed_s) + left),
        *((3, f"{number} {name}") for name, number in tally.counts.items() if number),
    ]
    text = join_parts(tail, width - _LEAST_BAR - 4)
    size = min(_MOST_BAR, width - 4 - cell_width(text))
    filled = round(size * tally.num_done / tally.num_launches) if tally.num_launches else size
    return f"  {'━' * filled}{'─' * (size - filled)}  {text}"


def join_parts(parts: Sequence[Part], width: int) -> str:
    """Parts two spaces apart. Whole parts are dropped by priority, the last of equals first, until the rest fits."""
    kept = list(parts)
    while any(rank > 0 for rank, _ in kept) and cell_width("  ".join(text for _, text in kept)) > width:
        kept.pop(max(range(len(kept)), key=lambda at: (kept[at][0], at)))
    return "  ".join(text for _, text in kept)
