"""A dot per launch: the spread of a case's launches, and launches or groups that lie apart."""

from collections.abc import Sequence
from statistics import median

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Datum, Section
from gpubench.report.view.contests import LAUNCH, Contest, name_of, times
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import fastest_of_each

_MOST_ROWS = 12
_FAR = 0.1
"""A launch that lies farther from the others of its case is named."""

Speeds = dict[int, float]
"""By repeat: a launch's speed over that of its case's middle launch, minus 1."""


def section(view: View) -> Section:
    charts = view.chart_each(launches_chart)
    far = any(abs(float(row[1] or 0)) > _FAR * 100 for chart in charts for row in chart.rows)
    return Section("launches", "Every launch", short="Launches", charts=charts, folded=not far)


def launches_chart(contest: Contest) -> Chart | None:
    """The cases whose launches differ most and the fastest of each precision; None without two launches of any."""
    speeds = {id(entry): _relative(entry) for entry in contest.rankable}
    known = [entry for entry in contest.rankable if len(speeds[id(entry)]) > 1]
    if not known:
        return None

    def reach(entry: CaseSummary) -> float:
        return max(map(abs, speeds[id(entry)].values()))

    first = {id(entry) for entry in fastest_of_each(contest)}
    chosen = {
        id(entry) for entry in sorted(known, key=lambda entry: (id(entry) not in first, -reach(entry)))[:_MOST_ROWS]
    }
    shown = [entry for entry in contest.cases if id(entry) in chosen]
    rows: list[tuple[Datum, ...]] = [
        (name_of(entry, contest), round(speed * 100, 4), None, None, entry.case.precision, LAUNCH, f"launch {repeat}")
        for entry in shown
        for repeat, speed in speeds[id(entry)].items()
    ]
    finding = _finding(known, speeds, contest)
    more = f" {len(shown)} of {len(known)} cases: the fastest of each precision, and those that differ most."
    return Chart(
        key=f"launches-{contest.key}",
        form="dots",
        title=f"{contest.subject}: {finding}",
        reading=(
            "Each dot is one launch of a case, in a separate process: its speed against the middle launch of that "
            f"case; right is faster.{more if len(shown) < len(known) else ''}"
        ),
        alt=f"Dots of the speed of each launch by case. {contest.subject}: {finding}.",
        columns=("case", "% from the middle launch", "low", "high", "precision", "standing", "launch"),
        rows=tuple(rows),
        options={"x_title": "speed over that of the middle launch, %", "x_format": "+~r"},
    )


def _relative(entry: CaseSummary) -> Speeds:
    found = entry.launch_values(entry.speed_metric)
    speeds = {
        repeat: 1 / value if entry.case.timing == "latency" else value for repeat, value in found.items() if value
    }
    middle = median(speeds.values()) if speeds else 1.0
    return {repeat: speed / middle - 1 for repeat, speed in speeds.items()}


def _finding(known: Sequence[CaseSummary], speeds: dict[int, Speeds], contest: Contest) -> str:
    """Two levels, or else the launch farthest from the others, or else how close they all are."""
    for entry in known:
        for found in entry.findings:
            if found.code == "GB212":
                few, many = found.data["launches"]
                apart = format_percent(found.data["apart"])
                return f"{name_of(entry, contest)} has two levels, {apart} apart ({few} and {many} launches)"
    reaches = [(abs(speed), repeat, speed, entry) for entry in known for repeat, speed in speeds[id(entry)].items()]
    most, repeat, speed, entry = max(reaches, key=lambda each: each[0])
    if most <= _FAR:
        return f"every launch lies within ±{format_percent(most)} of the middle launch of its case"
    how = f"{times(1 / (1 + speed))} as long as" if speed < 0 else f"{times(1 + speed)} as fast as"
    took = "took" if speed < 0 else "was"
    far = sum(reach > _FAR for reach, *_ in reaches)
    more = f"; {far} of {len(reaches)} launches lie over {format_percent(_FAR, decimals=0)} from it" if far > 1 else ""
    return f"launch {repeat} of {name_of(entry, contest)} {took} {how} its middle launch{more}"
