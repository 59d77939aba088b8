"""The output of `gpubench tune`: progress on stderr; then the path, what was ruled out, and lines to paste."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.core.units import format_bytes, format_duration, format_number
from gpubench.runner.events import ContestFinished, Event, LaunchFinished, Notice, RunStarted

if TYPE_CHECKING:
    from gpubench.analysis.tuning.search import LogRatio
    from gpubench.analysis.tuning.tuned_run import RuledOut, TunedRun

MOST_LINES, WIDTH = 40, 100
_FRONTIER = 4
_WORDS = {"speed": "as fast", "energy": "the samples per joule", "cost": "the samples per unit of money"}


def print_progress(event: Event) -> None:
    """A line per launch and per process of a contest."""
    if isinstance(event, RunStarted):
        click.echo(f"Run     {event.folder}", err=True)
    elif isinstance(event, LaunchFinished):
        record, speed = event.record, event.record.metrics.get("throughput")
        told = f"{format_number(speed)} samples/s" if speed else record.reason or ""
        took = "" if record.wall_s is None else f"  {format_duration(record.wall_s)}"
        click.echo(f"launch  {event.case.label}  {record.status.value}  {told}{took}", err=True)
    elif isinstance(event, ContestFinished):
        took = "" if event.record.wall_s is None else f"  {format_duration(event.record.wall_s)}"
        click.echo(f"in turn {len(event.record.cases)} settings  {event.record.status.value}{took}", err=True)
    elif isinstance(event, Notice):
        click.echo(f"note: {event.message}", err=True)


def tune_lines(tuned: "TunedRun", paste: Sequence[str], price: float | None, score: str = "") -> list[str]:
    """The result, in at most 40 lines of 100 columns, without the lines on files."""
    lines = _path(tuned, score)
    frontier = _frontier(tuned, price)
    room = MOST_LINES - len(lines) - len(frontier) - len(paste) - 4 - 3
    lines += _ruled_out(tuned.ruled_out, max(2, room))
    lines += [*frontier, "", "To paste", *(f"  {each}" for each in paste)]
    return [
        line
        if len(line) <= WIDTH or (line.startswith("  ") and line in {f"  {p}" for p in paste})
        else line[: WIDTH - 3] + "..."
        for line in lines
    ]


def _path(tuned: "TunedRun", score: str) -> list[str]:
    best, start = tuned.best, tuned.start
    assert start is not None, "something was measured"
    case = tuned.cases[start]
    where = f"{case.workload}, {case.mode} on {case.device}"
    tried = f"{tuned.num_tried} of {len(tuned.cases)} settings tried"
    if best == start:
        so_far = "" if tuned.is_over else " so far"
        return [f"Result  {where}: nothing is faster than the start{so_far} ({tried})", f"  {_setting(tuned, start)}"]
    parity = tuned.records[best][0].parity
    checked = "parity ok" if parity is not None and parity.passed else "parity unverified"
    lines = [
        f"Result  {where}: {said(tuned.together)} {_WORDS[tuned.objective]}, {checked}",
        f"  start     {_setting(tuned, start)} ({tried})",
    ]
    for number, step in enumerate(tuned.steps):
        on_top = " on top" if number else ""
        lines.append(f"  {', '.join(step.changes):<24} {said(step.ratio)}{on_top}{_doubt(step.ratio)}")
    speeds = [format_number(tuned.speeds[point]) for point in (start, best)]
    lines.append(f"  {'together':<24} {said(tuned.together)}: {' -> '.join(speeds)} samples/s")
    return [*lines, f"  score     {score}"] if score else lines


def _setting(tuned: "TunedRun", point: int) -> str:
    return " ".join(tuned.word(name, getattr(tuned.cases[point], name)) for name in tuned.axes)


def said(ratio: "LogRatio") -> str:
    """`1.41x (1.38 to 1.44)`."""
    if not ratio.rounds:
        return "not measured against it"
    value = f"{math.exp(ratio.log):.3g}x"
    if ratio.low is None or ratio.high is None:
        return f"about {value} (one process)"
    return f"{value} ({math.exp(ratio.low):.3g} to {math.exp(ratio.high):.3g})"


def _doubt(ratio: "LogRatio") -> str:
    return ", not certain" if ratio.low is None or ratio.low <= 0 else ""


def _ruled_out(ruled_out: "Sequence[RuledOut]", room: int) -> list[str]:
    if not ruled_out:
        return []
    shown = [
        f"  {each.value:<24} {each.why if each.ratio is None else f'{said(each.ratio)} {each.why}'}"
        for each in ruled_out
    ]
    if len(shown) > room:
        shown = [*shown[: room - 1], f"  and {len(shown) - room + 1} more"]
    return ["", "Ruled out", *shown]


def _frontier(tuned: "TunedRun", price: float | None) -> list[str]:
    """The frontier if speed, memory and energy favour different settings; nothing if one setting is best in all."""
    on_gpu = tuned.cases[0].device_type == "cuda"
    memory = "peak_memory_reserved_bytes" if on_gpu else "peak_rss_bytes"
    points = list(dict.fromkeys([tuned.best, *tuned.frontier]))[:_FRONTIER]
    if len(points) < 2 and price is None:
        return []
    lines = ["", "Frontier"]
    for point in points:
        speed, held, energy = (
            tuned.speeds[point],
            tuned.metric(point, memory),
            tuned.metric(point, "energy_per_sample_j"),
        )
        parts = [f"{format_number(speed)} samples/s"]
        parts += [] if held is None else [format_bytes(held)]
        parts += [] if energy is None else [f"{energy:.3g} J/sample"]
        parts += [] if price is None else [f"{format_number(price / 3600 / speed * 1e6)} per million samples"]
        lines.append(f"  {_setting(tuned, point)}: {', '.join(parts)}")
    return lines
