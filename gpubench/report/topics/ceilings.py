"""The measured ceilings of each device, with what its maker says beside them, and how far each case is from them."""

import math
from collections.abc import Callable, Iterable, Sequence

from gpubench.analysis.insight.roofline import Roofline, RooflinePoint, rooflines
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.datasheet import Datasheet, lookup
from gpubench.analysis.summary.measured_ceilings import (
    Ceiling,
    CeilingDevice,
    Ceilings,
    ceilings_of,
    device_of,
    is_operator,
)
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Estimate
from gpubench.core.units import format_number, format_percent
from gpubench.report.model.figure_cells import metric_cell, number, spread_text
from gpubench.report.model.report_model import EMPTY, Cell, Chart, Column, Datum, Line, Row, Section, Table, line
from gpubench.report.model.words import joined
from gpubench.report.view.phrases import standing, with_hollow
from gpubench.report.view.run_view import View

_TITLES = {
    "memory": "its memory, read and written",
    "h2d_pinned": "host to device, pinned",
    "h2d_pageable": "host to device, pageable",
    "launch": "operators launched by the host",
    "graph_launch": "operators in a CUDA graph",
}
_ORDER = ("flops", *_TITLES)
_METRIC = {"flops": "achieved_flops", "launch": "throughput", "graph_launch": "throughput"}
_CEILINGS = (
    Column("mark", "", "left"),
    Column("device", "device", "left"),
    Column("what", "ceiling", "left"),
    Column("flops", "TFLOP/s", unit="TFLOP/s"),
    Column("bandwidth", "GB/s", unit="GB/s"),
    Column("launches", "launches/s", unit="1/s"),
    Column("datasheet", "datasheet", priority=2),
    Column("share", "of it", priority=2, unit="%"),
    Column("label", "measured by", "left", priority=3),
    Column("when", "measured", "left", priority=4),
)
_POINTS = (
    Column("index", "#"),
    Column("label", "case", "left"),
    Column("intensity", "FLOP/byte", priority=1),
    Column("achieved_flops", "TFLOP/s", unit="TFLOP/s"),
    Column("mfu", "MFU %", unit="%"),
    Column("limit", "roof set by", "left", priority=2),
    Column("of_roof", "of roof %", priority=1, unit="%"),
    Column("of_launch", "launch floor %", priority=3, unit="%"),
    Column("device_idle_share", "idle %", priority=3, unit="%"),
    Column("bound", "bound by", "left", priority=4),
)


def section(view: View) -> Section:
    tables = (ceilings_table(view.summary), roofline_table(view.summary))
    known = tuple(table for table in tables if table is not None)
    charts = roofline_charts(view.summary) if view.charts else ()
    return Section("ceilings", "Against the measured ceilings", short="Ceilings", tables=known, charts=charts)


def ceilings_table(summary: RunSummary) -> Table | None:
    """Of every device of the run; None where no ceiling of any of them is known."""
    devices = _devices(summary)
    known = ceilings_of(summary.info, summary.cases)
    found = sorted((each for each in known if each.device in devices), key=_rank(devices))
    if not found:
        return None
    rows = tuple(_ceiling_row(ceiling) for ceiling in found)
    return Table("ceilings", _CEILINGS, rows, "Measured ceilings", _ceiling_notes(found, known)).without_empty_columns()


def _devices(summary: RunSummary) -> list[CeilingDevice]:
    met = (device_of(entry, summary.info.environment) for entry in summary.cases)
    return list(dict.fromkeys(device for device in met if device is not None))


def _rank(devices: Sequence[CeilingDevice]) -> Callable[[Ceiling], tuple[int, int, float]]:
    def key(ceiling: Ceiling) -> tuple[int, int, float]:
        return devices.index(ceiling.device), _ORDER.index(ceiling.quantity), ceiling.value.value

    return key


def _ceiling_row(ceiling: Ceiling) -> Row:
    spec = METRICS[_METRIC.get(ceiling.quantity, "achieved_bandwidth")]
    cell = _estimate_cell(ceiling.value, spec)
    columns = {"achieved_flops": 0, "achieved_bandwidth": 1, "throughput": 2}
    values = [EMPTY, EMPTY, EMPTY]
    values[columns[spec.name]] = cell
    what = f"arithmetic, {ceiling.precision}" if ceiling.quantity == "flops" else _TITLES[ceiling.quantity]
    cells = (
        Cell("!" if ceiling.suspect else ""),
        Cell(name_of(ceiling.device)),
        Cell(what),
        *values,
        *_beside(ceiling, spec),
        Cell(ceiling.label),
        Cell(ceiling.measured[:10]),
    )
    return Row(cells, "warning" if ceiling.suspect else "plain")


def name_of(device: CeilingDevice) -> str:
    """A card's product name; a CPU's with the threads that worked."""
    return device.name if device.threads is None else f"{device.name}, {device.threads} threads"


def _estimate_cell(found: Estimate, spec: MetricSpec) -> Cell:
    return metric_cell(spec.name, {spec.name: found}, spread=True)


def _beside(ceiling: Ceiling, spec: MetricSpec) -> tuple[Cell, Cell]:
    """The maker's figure, and the share of it that was measured."""
    claimed = _claimed(ceiling, lookup(ceiling.device.name))
    if claimed is None:
        return EMPTY, EMPTY
    share = ceiling.value.value / claimed
    shown = claimed * spec.display_factor
    return Cell(format_number(shown), value=shown), Cell(format_percent(share), value=share * 100)


def _claimed(ceiling: Ceiling, sheet: Datasheet | None) -> float | None:
    if sheet is None:
        return None
    if ceiling.quantity == "flops":
        return sheet.flops.get(str(ceiling.precision))
    return sheet.memory if ceiling.quantity == "memory" else None


def _ceiling_notes(found: Sequence[Ceiling], known: Ceilings) -> tuple[Line, ...]:
    notes = [
        line(
            "The highest of its kind that was measured on this very device; kept, so that later runs can be held against it."
        )
    ]
    if any(each.suspect for each in found):
        notes.append(
            line(
                "! a finding weakens the figure: measure it again on a quiet machine before you rely on a share of it."
            )
        )
    sheets = {each.device.name: sheet for each in found if (sheet := lookup(each.device.name)) is not None}
    notes += [
        line(
            f"datasheet: {sheet.source} ({sheet.dated}), dense, at boost clock, in the unit of its row; MFU is never a share of it."
        )
        for sheet in sheets.values()
    ]
    cards = {each.device.name for each in found if each.device.threads is None} - sheets.keys()
    notes += [line(f"No datasheet is known for a product named exactly {name!r}.") for name in sorted(cards)]
    other = {name: each for each in found for name in known.elsewhere(each)}
    if other:
        notes.append(
            line(f"! Some of these were measured under another {joined(sorted(other))}: run the suite roofline again.")
        )
    return tuple(notes)


def roofline_table(summary: RunSummary) -> Table | None:
    """A row per case that is no operator; None where none has FLOPs and bytes, or no ceiling is known to hold it
    against.
    """
    found = rooflines(summary)
    points = [point for roofline in found for point in roofline.points if not is_operator(point.summary.case)]
    if not any(point.of_peak is not None or point.of_roof is not None for point in points):
        return None
    ordered = sorted(points, key=lambda point: point.summary.planned.index)
    rows = tuple(_point_row(point) for point in ordered)
    table = Table("roofline", _POINTS, rows, "How far each case is from the ceilings", _point_notes(found, ordered))
    return table.without_empty_columns()


def _point_row(point: RooflinePoint) -> Row:
    entry = point.summary
    mfu, roof = METRICS["mfu"], METRICS["mfu"]
    cells = (
        Cell(str(entry.planned.index), value=entry.planned.index),
        Cell(entry.label),
        Cell(format_number(point.intensity), value=point.intensity),
        metric_cell("achieved_flops", entry.metrics),
        EMPTY if point.of_peak is None else _share_cell(point.of_peak, mfu),
        Cell(point.limit or ""),
        EMPTY if point.of_roof is None else _share_cell(point.of_roof, roof),
        EMPTY if point.of_launch is None else Cell(format_number(point.of_launch * 100), value=point.of_launch * 100),
        metric_cell("device_idle_share", entry.metrics) if "device_idle_share" in entry.metrics else EMPTY,
        Cell(bound_of(entry) or ""),
    )
    return Row(cells, case_index=entry.planned.index)


def _share_cell(share: Estimate, spec: MetricSpec) -> Cell:
    factor = spec.display_factor
    half = None if share.half_width is None else share.half_width * factor
    ends = [None if end is None else end * factor for end in (share.low, share.high)]
    return Cell(number(share.value * factor, half, spec), spread_text(share, spec), share.value * factor, *ends)


def bound_of(entry: CaseSummary) -> str | None:
    """What the steps of a case waited for: gpu, launch, input or cpu; None where launches disagree or none says."""
    said = {record.series.bound for record in entry.ok_records if record.series is not None}
    return said.pop() if len(said) == 1 else None


def _point_notes(found: Sequence[Roofline], points: Sequence[RooflinePoint]) -> tuple[Line, ...]:
    ridges = [
        f"{each.precision} on {name_of(each.device)}: {format_number(each.ridge)} FLOP/byte"
        for each in found
        if each.ridge is not None and any(not is_operator(point.summary.case) for point in each.points)
    ]
    notes = [
        line(
            "MFU: achieved over the arithmetic ceiling. of roof: over the lower of that and memory bandwidth times FLOP/byte, with every operator counted on its own."
        ),
        *([line(f"Left of these, memory sets the roof: {joined(ridges)}.")] if ridges else []),
    ]
    if any(point.of_launch is not None for point in points):
        notes.append(
            line(
                "launch floor: what launching the step's operators one by one takes, over the step's time; near 100 % the host is the limit, above it launches were saved."
            )
        )
    over = _over(point.of_roof for point in points)
    if over:
        notes.append(
            line("Above 100 % of the roof: fused operators, or inputs still in a cache, moved less than was counted.")
        )
    return tuple(notes)


def _over(shares: Iterable[Estimate | None]) -> bool:
    return any(share is not None and share.value > 1 for share in shares)


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
