"""The measured ceilings of each device next to its datasheet, and the distance of each case from them."""

import math
from collections.abc import Callable, Sequence

from gpubench.analysis.insight.roofline import Roofline, RooflinePoint, rooflines
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.datasheet import lookup
from gpubench.analysis.summary.measured_ceilings import (
    Ceiling,
    CeilingDevice,
    Ceilings,
    device_of,
    is_operator,
)
from gpubench.analysis.summary.roofs import MIXES
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate
from gpubench.core.units import format_number, format_percent
from gpubench.report.model.figure_cells import figure_cell, measured_cell, metric_cell
from gpubench.report.model.report_model import Cell, Chart, Column, Datum, Line, Section, Table, lines
from gpubench.report.model.words import joined
from gpubench.report.view.contests import standing, with_hollow
from gpubench.report.view.run_view import View

_TITLES = {
    "memory_read": "its memory, read",
    "memory_write": "its memory, write",
    "memory": "its memory, copy",
    "memory_triad": "its memory, triad",
    "h2d_pinned": "host to device, pinned",
    "h2d_pageable": "host to device, pageable",
    "launch": "operators launched by the host",
    "graph_launch": "operators in a CUDA graph",
}
_ARITHMETIC = ("flops", "flops_burst")
_ORDER = (*_ARITHMETIC, *_TITLES)
_TERA = 1e-12
_SUSTAINED = {True: "at the power limit", False: "below the power limit", None: ""}
_METRIC = {
    "flops": "achieved_flops",
    "flops_burst": "achieved_flops",
    "launch": "throughput",
    "graph_launch": "throughput",
}


def section(view: View) -> Section:
    tables = (ceilings_table(view.summary), roofline_table(view.summary))
    known = tuple(table for table in tables if table is not None)
    charts = roofline_charts(view.summary) if view.charts else ()
    return Section("ceilings", "Against the measured ceilings", short="Ceilings", tables=known, charts=charts)


def ceilings_table(summary: RunSummary) -> Table | None:
    """The ceilings of every device of the run; None if none is known."""
    met = (device_of(entry, summary.info.environment) for entry in summary.cases)
    devices = list(dict.fromkeys(device for device in met if device is not None))
    known = summary.ceilings
    found = sorted(
        (each for each in known if each.device in devices),
        key=lambda each: (devices.index(each.device), _place(each), each.value.value),
    )
    if not found:
        return None

    def what(ceiling: Ceiling) -> str:
        if ceiling.quantity not in _ARITHMETIC:
            return _TITLES[ceiling.quantity]
        state = "burst" if ceiling.quantity == "flops_burst" else _SUSTAINED[ceiling.at_power_limit]
        return ", ".join(filter(None, ["arithmetic", ceiling.precision, state]))

    def maker_says(ceiling: Ceiling) -> Cell | None:
        claimed, factor = _claimed(ceiling), METRICS[_metric_of(ceiling)].display_factor
        return None if claimed is None else Cell(format_number(claimed * factor), value=claimed * factor)

    def share(ceiling: Ceiling) -> Cell | None:
        claimed, value = _claimed(ceiling), ceiling.value.value
        return None if claimed is None else Cell(format_percent(value / claimed), value=value / claimed * 100)

    return Table.of(
        "ceilings",
        (
            Column("mark", "", "left", cell=lambda each: "!" if each.suspect else ""),
            Column("device", "device", "left", cell=lambda each: device_name(each.device)),
            Column("what", "ceiling", "left", cell=what),
            Column("flops", "TFLOP/s", unit="TFLOP/s", cell=_figure_in("achieved_flops")),
            Column("sm_clock_mhz", "SM MHz", priority=2, unit="MHz", cell=lambda each: _read(each.sm_clock_mhz)),
            Column("power_w", "W", priority=2, unit="W", cell=lambda each: _read(each.power_w)),
            Column("bandwidth", "GB/s", unit="GB/s", cell=_figure_in("achieved_bandwidth")),
            Column("launches", "launches/s", unit="1/s", cell=_figure_in("throughput")),
            Column("datasheet", "datasheet", priority=2, cell=maker_says),
            Column("share", "of it", priority=2, unit="%", cell=share),
            Column("label", "measured by", "left", priority=3, cell=lambda each: each.label),
            Column("when", "measured", "left", priority=4, cell=lambda each: each.measured[:10]),
        ),
        found,
        title="Measured ceilings",
        notes=_ceiling_notes(found, known),
        tone=lambda each: "warning" if each.suspect else "plain",
    ).without_empty_columns()


def device_name(device: CeilingDevice) -> str:
    """The product name; for a CPU, with the number of threads."""
    return device.name if device.threads is None else f"{device.name}, {device.threads} threads"


def _place(ceiling: Ceiling) -> int:
    """Both states of arithmetic together, then in the order of the titles."""
    return 0 if ceiling.quantity in _ARITHMETIC else _ORDER.index(ceiling.quantity)


def _read(value: float | None) -> Cell | None:
    return None if value is None else Cell(f"{value:.0f}", value=value)


def _metric_of(ceiling: Ceiling) -> str:
    return _METRIC.get(ceiling.quantity, "achieved_bandwidth")


def _figure_in(metric: str) -> Callable[[Ceiling], Cell]:
    """The ceiling in the column of its metric; empty in the others."""
    return lambda each: measured_cell(metric, {_metric_of(each): each.value}, spread=True)


def _claimed(ceiling: Ceiling) -> float | None:
    """The datasheet's value, in the unit of the ceiling."""
    sheet = lookup(ceiling.device.name)
    if sheet is None:
        return None
    if ceiling.quantity in _ARITHMETIC:
        return sheet.flops.get(str(ceiling.precision))
    return sheet.memory if ceiling.quantity in MIXES else None


def _ceiling_notes(found: Sequence[Ceiling], known: Ceilings) -> tuple[Line, ...]:
    sheets = {each.device.name: sheet for each in found if (sheet := lookup(each.device.name)) is not None}
    cards = {each.device.name for each in found if each.device.threads is None} - sheets.keys()
    other = joined(sorted({name for each in found for name in known.elsewhere(each)}))
    return lines(
        "The highest of its kind measured on this very device; kept, so that later runs can be compared with it.",
        "burst: the fastest 10 ms after a rest of a second, before the power limit lowers the clocks; the roof of "
        "cases that ran below that limit."
        if any(each.quantity == "flops_burst" for each in found)
        else "",
        "A CPU has one arithmetic state: its clocks and power limit are not read, so a burst cannot be told apart."
        if any(each.quantity == "flops" and each.device.threads is not None for each in found)
        else "",
        "! a finding weakens the figure: measure it again on a quiet machine before you rely on a share of it."
        if any(each.suspect for each in found)
        else "",
        *(
            f"datasheet: {sheet.source} ({sheet.dated}), dense, at boost clock, in the unit of its row; MFU is never "
            "computed from it."
            for sheet in sheets.values()
        ),
        *(f"No datasheet is known for a product named exactly {name!r}." for name in sorted(cards)),
        f"! Some of these were measured under another {other}: run the suite roofline again." if other else "",
    )


def roofline_table(summary: RunSummary) -> Table | None:
    """A row per case except single operators; None without FLOPs and bytes, or without a ceiling to compare with."""
    found = rooflines(summary)
    points = [point for roofline in found for point in roofline.points if not is_operator(point.summary.case)]
    if not any(point.of_peak is not None or point.of_roof is not None for point in points):
        return None
    ordered = sorted(points, key=lambda point: point.summary.planned.index)
    columns = (
        Column("index", "#", cell=lambda point: point.summary.planned.index),
        Column("label", "case", "left", cell=lambda point: point.summary.label),
        Column("intensity", "FLOP/byte", priority=1, cell=lambda point: _plain(point.intensity)),
        Column(
            "achieved_flops",
            "TFLOP/s",
            unit="TFLOP/s",
            cell=lambda point: metric_cell("achieved_flops", point.summary.metrics),
        ),
        Column("mfu", "MFU %", unit="%", cell=lambda point: _share(point.of_peak)),
        Column("limit", "roof set by", "left", priority=2, cell=_roof_of),
        Column("of_roof", "of roof %", priority=1, unit="%", cell=lambda point: _share(point.of_roof)),
        Column(
            "of_launch",
            "launch floor %",
            priority=3,
            unit="%",
            cell=lambda point: None if point.of_launch is None else _plain(point.of_launch * 100),
        ),
        Column(
            "device_idle_share",
            "idle %",
            priority=3,
            unit="%",
            cell=lambda point: measured_cell("device_idle_share", point.summary.metrics),
        ),
        Column("bound", "bound by", "left", priority=4, cell=lambda point: bound_of(point.summary)),
    )
    return Table.of(
        "roofline",
        columns,
        ordered,
        title="How far each case is from the ceilings",
        notes=_point_notes(found, ordered),
        case_index=lambda point: point.summary.planned.index,
    ).without_empty_columns()


def _roof_of(point: RooflinePoint) -> str | None:
    return f"memory ({point.mix})" if point.limit == "memory" else point.limit


def _plain(value: float) -> Cell:
    return Cell(format_number(value), value=value)


def _share(share: Estimate | None) -> Cell | None:
    """A share of a ceiling, with its interval."""
    return None if share is None else figure_cell(share, METRICS["mfu"], spread=True)


def bound_of(entry: CaseSummary) -> str | None:
    """What the steps of a case waited for: gpu, launch, input or cpu; None if unknown, or if launches disagree."""
    said = {record.series.bound for record in entry.ok_records if record.series is not None}
    return said.pop() if len(said) == 1 else None


def _point_notes(found: Sequence[Roofline], points: Sequence[RooflinePoint]) -> tuple[Line, ...]:
    ridges = [
        f"{each.precision} on {device_name(each.device)}: {format_number(each.ridge)} FLOP/byte"
        for each in found
        if each.ridge is not None and any(not is_operator(point.summary.case) for point in each.points)
    ]
    return lines(
        "MFU: achieved over the arithmetic ceiling. of roof: over the lower of that and memory bandwidth times "
        "FLOP/byte, every operator counted separately; bandwidth is that of the case's own mix of reads and writes.",
        f"Left of these, memory sets the roof: {joined(ridges)}." if ridges else "",
        "launch floor: what launching the step's operators one by one takes, over the step's time; near 100 % the host "
        "is the limit, above it launches were saved."
        if any(point.of_launch is not None for point in points)
        else "",
        "Above 100 % of the roof: fused operators, or inputs still in a cache, moved less than was counted; where "
        "neither explains it, the case has finding GB217."
        if any(point.of_roof is not None and point.of_roof.value > 1 for point in points)
        else "",
    )


def roofline_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """One chart per device with a measured roof: arithmetic per precision, and memory bandwidth."""
    groups: dict[tuple[str, int | None], list[Roofline]] = {}
    for found in rooflines(summary):
        if found.peak is not None and found.memory is not None:
            groups.setdefault((found.device.key, found.device.threads), []).append(found)
    return tuple(_chart(number, roofs) for number, roofs in enumerate(groups.values(), start=1))


def _chart(number: int, roofs: list[Roofline]) -> Chart:
    points = [point for roof in roofs for point in roof.points]
    # Whole decades around every case and ridge, in FLOP per byte.
    met = [point.intensity for point in points] + [roof.ridge for roof in roofs if roof.ridge]
    span = 10 ** math.floor(math.log10(min(met))), 10 ** math.ceil(math.log10(max(met) * 1.2))
    rows = [row for roof in roofs for row in _rows(roof, span)]
    finding = _finding(points)
    name = device_name(roofs[0].device)
    return Chart(
        key="roofline" if number == 1 else f"roofline-{number}",
        form="roofline",
        title=f"{name}: {finding}",
        reading=with_hollow(
            "Each line is the roof measured at one precision: slanted where memory bandwidth (of the best mix) "
            "sets it, level where arithmetic does. Each mark is a case; its distance to the line of its colour is what "
            "is left to gain.",
            [point.summary for point in points],
        ),
        alt=f"Roofline of achieved TFLOP/s over FLOP per byte. {finding}.",
        columns=("precision", "FLOP per byte", "TFLOP/s", "case", "what", "standing"),
        rows=tuple(rows),
    )


def _rows(roof: Roofline, span: tuple[float, float]) -> list[tuple[Datum, ...]]:
    """The corners of the roof, then its cases."""
    assert roof.peak is not None
    assert roof.memory is not None
    assert roof.ridge is not None
    peak, slope = roof.peak.value.value * _TERA, roof.memory.value.value * _TERA
    corners = [(at, min(peak, slope * at)) for at in (span[0], roof.ridge, span[1])]
    lines: list[tuple[Datum, ...]] = [(roof.precision, at, top, "", "roof", "valid") for at, top in corners]
    for point in roof.points:
        entry, achieved = point.summary, point.achieved.value * _TERA
        lines.append((roof.precision, point.intensity, achieved, entry.label, "case", standing(entry)))
    return lines


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
        f"{closest.summary.label} comes closest to its roof, {format_percent(most, decimals=0)} of what "
        f"{closest.limit} allows"
    )
