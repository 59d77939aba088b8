"""Achieved arithmetic against the measured ceiling of the device."""

from gpubench.analysis.summary.case_figures import mfu
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.measured_ceilings import device_of, is_operator
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_number, format_percent
from gpubench.report.model.report_model import Chart, Datum, Section
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.contests import DOTS, LAUNCH, Contest, launch_dots, name_of, standing, with_hollow
from gpubench.report.view.run_view import View

_SHOWN = (
    "achieved_flops",
    "mfu",
    "flops_per_sample",
    "achieved_bandwidth",
    "bytes_per_sample",
    "sm_activity",
    "tensor_activity",
    "dram_activity",
)

_FLOPS = "achieved_flops"


def section(view: View) -> Section:
    charts = view.chart_each(lambda contest: efficiency_chart(contest, view.summary))
    return metrics_section(view, "efficiency", "Efficiency", _SHOWN, charts=charts)


def efficiency_chart(contest: Contest, summary: RunSummary) -> Chart | None:
    """The fastest case of each precision with known FLOPs; None without any, and for operators, which are the
    ceiling.
    """
    known = [] if is_operator(contest.first) else [entry for entry in contest.rankable if _FLOPS in entry.metrics]
    shown = [
        max(mine, key=_flops)
        for precision in contest.precisions
        if (mine := [entry for entry in known if entry.case.precision == precision])
    ]
    if not shown:
        return None
    ceilings, environment = summary.ceilings, summary.info.environment
    found = {id(entry): ceilings.peak_flops(entry, device_of(entry, environment)) for entry in shown}
    peaks = {key: peak.value.value for key, peak in found.items() if peak is not None}
    factor, unit = (1e-12, "TFLOP/s") if max(map(_flops, shown)) >= 1e11 else (1e-9, "GFLOP/s")

    best = max([entry for entry in shown if entry.may_win] or shown, key=_flops)
    achieved = best.metrics[_FLOPS]
    half = None if achieved.half_width is None else achieved.half_width * factor
    share = mfu(achieved, peaks.get(id(best)))
    finding = f"{best.case.precision} reaches {format_number(achieved.value * factor, half)} {unit}"
    finding += f", {format_percent(share.value)} of the measured ceiling" if share else ""

    rows: list[tuple[Datum, ...]] = []
    for entry in shown:
        flops, precision = entry.metrics[_FLOPS], entry.case.precision
        values = [None if value is None else value * factor for value in (flops.value, flops.low, flops.high)]
        rows.append((precision, *values, precision, standing(entry), name_of(entry, contest)))
        dots = launch_dots(entry, _FLOPS, factor)
        rows += [(precision, value, None, None, precision, LAUNCH, launch) for launch, value in dots]
    ticks = [(entry.case.precision, peaks[id(entry)] * factor) for entry in shown if id(entry) in peaks]
    ruled = (
        "The tick is the highest figure measured on this device at that precision."
        if ticks
        else "No ceiling of this device was measured, so no share of one is given: the roofline suite measures it."
    )
    what = (
        "Each mark is the fastest case of one precision: operations of its matrix products and convolutions over "
        f"step time. {DOTS}"
    )
    return Chart(
        key=f"efficiency-{contest.key}",
        form="dots",
        title=f"{contest.subject}: {finding}",
        reading=with_hollow(f"{what} {ruled}", shown),
        alt=f"Dot chart of achieved {unit} by precision. {contest.subject}: {finding}.",
        columns=("precision", unit, "low", "high", "series", "standing", "case"),
        rows=tuple(rows),
        options={"x_title": unit, "ticks": ticks, "ticks_label": "measured ceiling", "zero": True},
    )


def _flops(entry: CaseSummary) -> float:
    return entry.metrics[_FLOPS].value
