"""Step time, clock, power and temperature over the measured window of one launch, with what held the clock down."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from gpubench.analysis.insight.best_settings import speed
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import joined
from gpubench.report.topics.charts.phrases import name_of, standing
from gpubench.report.topics.contests import Contest
from gpubench.report.topics.samples import LaunchSamples, Samples, fastest_of_each
from gpubench.report.topics.telemetry_facts import REASONS
from gpubench.telemetry.window.throttling import REASON_BITS

_MOST_POINTS = 240
_LEAST_POINTS = 20
_STEP = "step time, ms"
_PANELS = (
    ("sm_clock_mhz", "SM clock, MHz", "fast"),
    ("power_instant_w", "power, W", "fast"),
    ("power_average_w", "power, W", "fast"),
    ("power_usage_w", "power, W", "fast"),
    ("temperature_c", "temperature, °C", "slow"),
)


def timeline_chart(contest: Contest, samples: Samples) -> Chart | None:
    """The first stored launch of the contest's fastest case; None where nothing was stored that shows a course."""
    entries = [entry for entry in fastest_of_each(contest) if samples.get(entry.planned.index)]
    if not entries:
        return None
    best = max(entries, key=lambda entry: (standing(entry) == "valid", speed(entry) or 0.0))
    return _timeline(contest, best, samples[best.planned.index][0])


def _timeline(contest: Contest, entry: CaseSummary, launch: LaunchSamples) -> Chart | None:
    rows = [*_steps(launch), *_readings(launch)]
    if len(rows) < _LEAST_POINTS:
        return None
    spans = throttle_spans(launch)
    finding = _finding(entry, launch, spans)
    shaded = " Shaded spans are when the driver held the clock down, and why." if spans else ""
    panels = list(dict.fromkeys(str(row[0]) for row in rows))
    return Chart(
        key=f"timeline-{contest.key}",
        form="timeline",
        title=f"{contest.subject}, {name_of(entry, contest)}: {finding}",
        reading=f"The measured window of launch {launch.repeat}, from its first steady step on; level lines are steady.{shaded}",
        alt=f"Lines of {joined(panels)} over time. {name_of(entry, contest)}: {finding}.",
        columns=("quantity", "s", "value"),
        rows=tuple(rows),
        options={
            "spans": spans,
            "precision": entry.case.precision,
            "panels": panels,
            "x_title": "seconds since the first steady step",
        },
    )


def _steps(launch: LaunchSamples) -> list[tuple[Datum, ...]]:
    """Medians of equal parts of the series at the time of their end: no more points than can be seen."""
    times = [value * launch.group for value in launch.step_times_s]
    ends = list(accumulate(times))
    return [(_STEP, round(at, 4), value * 1e3 / launch.group) for at, value in _thinned(ends, times)]


def _readings(launch: LaunchSamples) -> list[tuple[Datum, ...]]:
    rows: list[tuple[Datum, ...]] = []
    drawn = set()
    for name, panel, kind in _PANELS:
        points = [
            (at, value)
            for at, value in _points(launch, name, kind)
            if panel not in drawn and 0 <= at <= launch.duration_s
        ]
        if points:
            drawn.add(panel)
            thin = _thinned([at for at, _ in points], [value for _, value in points])
            rows += [(panel, round(at, 4), round(value, 3)) for at, value in thin]
    return rows


def _points(launch: LaunchSamples, name: str, kind: str) -> Iterable[tuple[float, float]]:
    at, values = launch.telemetry.get(f"{kind}_time_s", ()), launch.telemetry.get(name, ())
    return ((float(t), float(v)) for t, v in zip(at, values, strict=False) if not math.isnan(v))


def _thinned(at: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    size = max(1, math.ceil(len(values) / _MOST_POINTS))
    parts = ((at[start : start + size], values[start : start + size]) for start in range(0, len(values), size))
    return [(float(times[-1]), sorted(part)[len(part) // 2]) for times, part in parts]


def throttle_spans(launch: LaunchSamples) -> list[tuple[float, float, str]]:
    """(from s, to s, reasons) of consecutive readings in which the same reasons held the clock down."""
    readings = [
        (
            min(max(at, 0.0), launch.duration_s),
            joined([REASONS[name] for name, bit in REASON_BITS.items() if int(mask) & bit]),
        )
        for at, mask in _points(launch, "reasons", "fast")
    ]
    spans: list[tuple[float, float, str]] = []
    for (start, reason), (end, _) in pairwise([*readings, (launch.duration_s, "")]):
        if spans and spans[-1][2] == reason:
            spans[-1] = (spans[-1][0], end, reason)
        else:
            spans.append((start, end, reason))
    return [(round(start, 4), round(end, 4), reason) for start, end, reason in spans if reason and end > start]


def _finding(entry: CaseSummary, launch: LaunchSamples, spans: Sequence[tuple[float, float, str]]) -> str:
    held = sum(end - start for start, end, _ in spans)
    clocks = [value for at, value in _points(launch, "sm_clock_mhz", "fast") if 0 <= at <= launch.duration_s]
    said = f"SM clock {min(clocks):.0f} to {max(clocks):.0f} MHz" if clocks else ""
    if held > 0.01 * launch.duration_s > 0:
        reasons = joined(list(dict.fromkeys(reason for _, _, reason in spans)))
        return f"{said}, held down for {format_percent(held / launch.duration_s, decimals=0)} of the window ({reasons})"
    if clocks:
        return f"{said}, held down by nothing"
    return _drift(entry, launch)


def _drift(entry: CaseSummary, launch: LaunchSamples) -> str:
    drifts = [record.series.drift for record in entry.ok_records if record.repeat == launch.repeat and record.series]
    if not drifts or drifts[0] is None:
        return "step time over the window"
    return f"step time moved by {format_percent(drifts[0], signed=True)} over the window"
