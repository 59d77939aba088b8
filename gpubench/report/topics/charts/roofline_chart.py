"""Achieved arithmetic over how much of it there is per byte, under the roofs that were measured on this device."""

import math

from gpubench.analysis.insight.roofline import Roofline, RooflinePoint, rooflines
from gpubench.analysis.summary.measured_ceilings import is_operator
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.topics.charts.phrases import standing, with_hollow
from gpubench.report.topics.roofline_table import name_of

_TERA = 1e-12


def roofline_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """One chart per device of which a roof was measured: arithmetic per precision, and memory bandwidth."""
    groups: dict[tuple[str, int | None], list[Roofline]] = {}
    for found in rooflines(summary):
        if found.peak is not None and found.memory is not None:
            groups.setdefault((found.device.key, found.device.threads), []).append(found)
    return tuple(_chart(number, roofs) for number, roofs in enumerate(groups.values(), start=1))


def _chart(number: int, roofs: list[Roofline]) -> Chart:
    points = [point for roof in roofs for point in roof.points]
    rows = [row for roof in roofs for row in _rows(roof, _span(roofs))]
    finding = _finding(points)
    name = name_of(roofs[0].device)
    return Chart(
        key="roofline" if number == 1 else f"roofline-{number}",
        form="roofline",
        title=f"{name}: {finding}",
        reading=with_hollow(
            "Each line is the roof that was measured at one precision: slanted where memory bandwidth sets it, level where "
            "arithmetic does. Each mark is a case; its distance to the line of its colour is what is left to gain.",
            [point.summary for point in points],
        ),
        alt=f"Roofline of achieved TFLOP/s over FLOP per byte. {finding}.",
        columns=("precision", "FLOP per byte", "TFLOP/s", "case", "what", "standing"),
        rows=tuple(rows),
    )


def _span(roofs: list[Roofline]) -> tuple[float, float]:
    """Whole decades that hold every case and every ridge, in FLOP per byte."""
    met = [point.intensity for roof in roofs for point in roof.points] + [roof.ridge for roof in roofs if roof.ridge]
    return 10 ** math.floor(math.log10(min(met))), 10 ** math.ceil(math.log10(max(met) * 1.2))


def _rows(roof: Roofline, span: tuple[float, float]) -> list[tuple[Datum, ...]]:
    """The corners of the roof, then its cases."""
    assert roof.peak is not None
    assert roof.memory is not None
    assert roof.ridge is not None
    peak, slope = roof.peak.value.value * _TERA, roof.memory.value.value * _TERA
    corners = [(at, min(peak, slope * at)) for at in (span[0], roof.ridge, span[1])]
    lines: list[tuple[Datum, ...]] = [(roof.precision, at, top, "", "roof", "valid") for at, top in corners]
    return lines + [_mark(roof.precision, point) for point in roof.points]


def _mark(precision: str, point: RooflinePoint) -> tuple[Datum, ...]:
    entry = point.summary
    return precision, point.intensity, point.achieved.value * _TERA, entry.label, "case", standing(entry)


def _finding(points: list[RooflinePoint]) -> str:
    below = [
        (share.value, point)
        for point in points
        if (share := point.of_roof) is not None and not is_operator(point.summary.case)
    ]
    if not below:
        fastest = max(points, key=lambda point: point.achieved.value)
        return f"{fastest.summary.label} reaches most"
    most, closest = max(below, key=lambda each: each[0])
    return (
        f"{closest.summary.label} comes closest to its roof, {format_percent(most, decimals=0)} of what {closest.limit} "
        "allows"
    )
