"""The spread of a case's steps, and the state of the device meanwhile."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Datum, Section
from gpubench.report.model.words import THROTTLE_REASONS, count, joined
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.contests import Contest, name_of
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import LaunchSamples, Samples, fastest_of_each
from gpubench.telemetry.window.throttling import REASON_BITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN = (
    "step_time_s",
    "step_time_p50_s",
    "step_time_p90_s",
    "step_time_p95_s",
    "step_time_p99_s",
    "latency_p50_s",
    "latency_p90_s",
    "latency_p95_s",
    "latency_p99_s",
    "latency_floor_s",
    "sustained_throughput",
    "host_enqueue_s",
    "input_wait_s",
    "input_wait_share",
    "device_idle_share",
    "cpu_time_share",
)


_BINS = 48
_LEAST_STEPS = 20
_FAR = 2.0


def spread_chart(contest: Contest, samples: Samples) -> Chart | None:
    """The distribution of step times of each precision's fastest case; None without stored steps."""
    import numpy as np

    known = []
    for entry in fastest_of_each(contest):
        # Steady step times over the median of their launch, minus 1.
        parts = [np.asarray(launch.step_times_s, dtype=float) for launch in samples.get(entry.planned.index, ())]
        relative = [part / np.median(part) - 1 for part in parts if part.size >= _LEAST_STEPS]
        known += [(entry, np.concatenate(relative))] if relative else []
    if not known:
        return None
    edges = np.linspace(*_range([values for _, values in known]), _BINS + 1)
    rows: list[tuple[Datum, ...]] = []
    for entry, values in known:
        counts, _ = np.histogram(values, edges)
        for at, number in enumerate(counts):
            if number:
                share = float(number) / values.size * 100
                ends_pct = (round(float(edges[at]) * 100, 5), round(float(edges[at + 1]) * 100, 5))
                rows.append((entry.case.precision, *ends_pct, round(share, 4), name_of(entry, contest)))
    finding = _spread_finding(known, contest)
    what = "request" if contest.timing == "latency" else "step"
    return Chart(
        key=f"steps-{contest.key}",
        form="spread",
        title=f"{contest.subject}: {finding}",
        reading=(
            f"Each row is one case: how often a {what} took this much less or more than the median of its launch. A "
            "narrow peak is steady; two peaks are two ways of running. Steps beyond the axis are not drawn, and are "
            "counted in every figure."
        ),
        alt=f"Histograms of {what} time by precision. {contest.subject}: {finding}.",
        columns=("precision", "from %", "to %", "share of steps %", "case"),
        rows=tuple(rows),
        options={"x_title": f"{what} time over its median, %"},
    )


def _range(series: Sequence["NDArray[np.float64]"]) -> tuple[float, float]:
    """The drawn range: eight times half the interquartile range around the median, but not beyond all steps."""
    import numpy as np

    halves = [np.subtract(*np.quantile(values, (0.75, 0.25))) / 2 for values in series]
    reach = max(1e-4, 8 * float(max(halves)))
    low, high = min(float(values.min()) for values in series), max(float(values.max()) for values in series)
    return max(low, -reach), max(min(high, reach), -reach + 1e-4)


def _spread_finding(known: Sequence[tuple[CaseSummary, "NDArray[np.float64]"]], contest: Contest) -> str:
    import numpy as np

    halves = {id(entry): float(np.subtract(*np.quantile(values, (0.75, 0.25)))) / 2 for entry, values in known}
    widest = max((entry for entry, _ in known), key=lambda entry: halves[id(entry)])
    what = "requests" if contest.timing == "latency" else "steps"
    name = "" if len(known) == 1 else f", {name_of(widest, contest)} being the least steady"
    said = f"half of the {what} lie within ±{format_percent(halves[id(widest)])} of the median{name}"
    far = {entry.case.precision: int((values > _FAR - 1).sum()) for entry, values in known}
    worst = max(far, key=lambda precision: far[precision])
    if not far[worst]:
        return said
    total = next(values.size for entry, values in known if entry.case.precision == worst)
    return f"{said}; {count(far[worst], 'step')} of {total} took over twice as long ({worst})"


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
    """The first stored launch of the contest's fastest case; None if no stored series shows its course."""
    entries = [entry for entry in fastest_of_each(contest) if samples.get(entry.planned.index)]
    if not entries:
        return None
    entry = max(entries, key=lambda each: (each.may_win, each.rank_speed or 0.0))
    launch = samples[entry.planned.index][0]
    times = [value * launch.group for value in launch.step_times_s]
    # Medians of equal parts of the series at the time of their end, to limit the number of points.
    steps = [
        (_STEP, round(at, 4), value * 1e3 / launch.group) for at, value in _thinned(list(accumulate(times)), times)
    ]
    rows = [*steps, *_readings(launch)]
    if len(rows) < _LEAST_POINTS:
        return None
    spans = throttle_spans(launch)
    finding = _timeline_finding(entry, launch, spans)
    shaded = " Shaded spans are when the driver held the clock down, and why." if spans else ""
    panels = list(dict.fromkeys(str(row[0]) for row in rows))
    return Chart(
        key=f"timeline-{contest.key}",
        form="timeline",
        title=f"{contest.subject}, {name_of(entry, contest)}: {finding}",
        reading=(
            f"The measured window of launch {launch.repeat}, from its first steady step on; level lines are "
            f"steady.{shaded}"
        ),
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
            joined([THROTTLE_REASONS[name] for name, bit in REASON_BITS.items() if int(mask) & bit]),
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


def _timeline_finding(entry: CaseSummary, launch: LaunchSamples, spans: Sequence[tuple[float, float, str]]) -> str:
    held = sum(end - start for start, end, _ in spans)
    clocks = [value for at, value in _points(launch, "sm_clock_mhz", "fast") if 0 <= at <= launch.duration_s]
    said = f"SM clock {min(clocks):.0f} to {max(clocks):.0f} MHz" if clocks else ""
    if held > 0.01 * launch.duration_s > 0:
        reasons = joined(list(dict.fromkeys(reason for _, _, reason in spans)))
        return f"{said}, held down for {format_percent(held / launch.duration_s, decimals=0)} of the window ({reasons})"
    if clocks:
        return f"{said}, never held down"
    drifts = [record.series.drift for record in entry.ok_records if record.repeat == launch.repeat and record.series]
    if not drifts or drifts[0] is None:
        return "step time over the window"
    return f"step time moved by {format_percent(drifts[0], signed=True)} over the window"


def section(view: View) -> Section:
    charts = view.chart_each(
        lambda contest: spread_chart(contest, view.samples), lambda contest: timeline_chart(contest, view.samples)
    )
    return metrics_section(view, "steadiness", "Steadiness and step times", _SHOWN, short="Steadiness", charts=charts)
