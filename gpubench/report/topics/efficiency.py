"""Achieved arithmetic against what this device was measured to be able to do."""

from collections.abc import Sequence
from typing import NamedTuple

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.measured_ceilings import Ceilings, ceilings_of, device_of, is_operator
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.analysis.summary.utilization import mfu
from gpubench.core.units import format_number, format_percent
from gpubench.report.model.report_model import Chart, Datum, Section
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.contests import Contest
from gpubench.report.view.phrases import name_of, standing, with_hollow
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


class _Unit(NamedTuple):
    factor: float
    name: str


Peaks = dict[int, float]
"""FLOP/s that the device of a case was measured to reach at its precision, by the number of the case."""


def efficiency_chart(contest: Contest, summary: RunSummary, ceilings: Ceilings | None = None) -> Chart | None:
    """The fastest case of each precision whose FLOPs are known; None without any, and for operators, which are the
    ceiling.
    """
    shown = [] if is_operator(contest.first) else _fastest(contest)
    if not shown:
        return None
    peaks = _peaks(shown, summary, ceilings or ceilings_of(summary.info, summary.cases))
    unit = _unit(shown)
    finding = _finding(shown, peaks, unit)
    ticks = [
        (entry.case.precision, peaks[entry.planned.index] * unit.factor)
        for entry in shown
        if entry.planned.index in peaks
    ]
    ruled = (
        "The tick is the most that was measured on this device at that precision."
        if ticks
        else "No ceiling of this device was measured, so no share of one is given: the roofline suite measures it."
    )
    what = (
        "Each mark is the fastest case of one precision: operations of its matrix products and convolutions "
        "over step time."
    )
    return Chart(
        key=f"efficiency-{contest.key}",
        form="dots",
        title=f"{contest.subject}: {finding}",
        reading=with_hollow(f"{what} {ruled}", shown),
        alt=f"Dot chart of achieved {unit.name} by precision. {contest.subject}: {finding}.",
        columns=("precision", unit.name, "low", "high", "series", "standing", "case"),
        rows=tuple(_row(entry, contest, unit) for entry in shown),
        options={"x_title": unit.name, "ticks": ticks, "ticks_label": "measured ceiling", "zero": True},
    )


def _unit(shown: Sequence[CaseSummary]) -> _Unit:
    most = max(entry.metrics[_FLOPS].value for entry in shown)
    return _Unit(1e-12, "TFLOP/s") if most >= 1e11 else _Unit(1e-9, "GFLOP/s")


def _fastest(contest: Contest) -> list[CaseSummary]:
    found = {}
    for precision in contest.precisions:
        known = [entry for entry in contest.rankable if entry.case.precision == precision and _FLOPS in entry.metrics]
        if known:
            found[precision] = max(known, key=lambda entry: entry.metrics[_FLOPS].value)
    return list(found.values())


def _peaks(shown: Sequence[CaseSummary], summary: RunSummary, ceilings: Ceilings) -> Peaks:
    found = {}
    for entry in shown:
        peak = ceilings.peak_flops(entry, device_of(entry, summary.info.environment))
        if peak is not None:
            found[entry.planned.index] = peak.value.value
    return found


def _row(entry: CaseSummary, contest: Contest, unit: _Unit) -> tuple[Datum, ...]:
    found, precision = entry.metrics[_FLOPS], entry.case.precision
    values = [None if value is None else value * unit.factor for value in (found.value, found.low, found.high)]
    return (precision, *values, precision, standing(entry), name_of(entry, contest))


def _finding(shown: Sequence[CaseSummary], peaks: Peaks, unit: _Unit) -> str:
    counted = [entry for entry in shown if standing(entry) == "valid"] or list(shown)
    best = max(counted, key=lambda entry: entry.metrics[_FLOPS].value)
    achieved = best.metrics[_FLOPS]
    half = None if achieved.half_width is None else achieved.half_width * unit.factor
    said = f"{best.case.precision} reaches {format_number(achieved.value * unit.factor, half)} {unit.name}"
    share = mfu(achieved, peaks.get(best.planned.index))
    return f"{said}, {format_percent(share.value)} of the measured ceiling" if share else said


def section(view: View) -> Section:
    charts = view.chart_each(lambda contest: efficiency_chart(contest, view.summary))
    return metrics_section(view, "efficiency", "Efficiency", _SHOWN, charts=charts)
