"""Energy per sample against speed, and power."""

from collections.abc import Sequence

from gpubench.analysis.insight.best_settings import compared
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_number, format_percent
from gpubench.report.model.report_model import Chart, Datum, Line, Section, line
from gpubench.report.model.words import joined
from gpubench.report.view.case_tables import metrics_section
from gpubench.report.view.contests import Contest, name_of, standing, times, with_hollow
from gpubench.report.view.run_view import View

_SHOWN = (
    "energy_per_sample_j",
    "samples_per_j",
    "mean_power_w",
    "peak_power_w",
    "money_per_sample",
    "samples_per_money",
    "energy_above_idle_j",
    "cpu_energy_j",
    "sm_clock_mhz",
    "temperature_c",
    "throttle_share",
    "utilization",
)

_SCOPES = {
    "device": "the card's board",
    "module": "the whole module (GPU and CPU)",
    "parent_shared": "the whole card, which MIG slices share",
}
_ENERGY = "energy_per_sample_j"
_POWER = "mean_power_w"


def frontier(entries: Sequence[CaseSummary]) -> tuple[CaseSummary, ...]:
    """Cases that no other beats in both speed and energy per sample, the fastest first."""
    best = float("inf")
    found = []
    for entry in sorted(entries, key=lambda each: (-(each.rank_speed or 0.0), each.metrics[_ENERGY].value)):
        if entry.metrics[_ENERGY].value < best:
            best = entry.metrics[_ENERGY].value
            found.append(entry)
    return tuple(found)


def energy_chart(contest: Contest) -> Chart | None:
    """Energy per sample against samples/s; None if fewer than two cases have both."""
    timed = contest.rankable if contest.timing == "throughput" else ()
    entries = [entry for entry in timed if _ENERGY in entry.metrics]
    if len(entries) < 2:
        return None
    counted = [entry for entry in entries if entry.may_win] or list(entries)
    best = frontier(counted)
    named = {id(entry) for entry in best}
    # The unit in which the highest energy has one to three digits before the point.
    most = max(entry.metrics[_ENERGY].value for entry in entries)
    factor, unit = (1.0, "J") if most >= 1 else (1e3, "mJ") if most >= 1e-3 else (1e6, "µJ")
    finding = _finding(contest, best, factor, unit)
    rows: list[tuple[Datum, ...]] = []
    for entry in entries:
        energy, place = entry.metrics[_ENERGY].value * factor, "frontier" if id(entry) in named else ""
        rows.append((entry.case.precision, entry.speed, energy, name_of(entry, contest), place, standing(entry)))
    return Chart(
        key=f"energy-{contest.key}",
        form="scatter",
        title=f"{contest.subject}: {finding}",
        reading=with_hollow(
            "Each mark is one case; right is faster, down is cheaper. The line joins the frontier: cases that no "
            "other beats in both. Joules are comparable on one card; between cards they may be off by 5 %.",
            entries,
        ),
        alt=f"Scatter chart of energy per sample against throughput. {contest.subject}: {finding}.",
        columns=("precision", "samples/s", f"{unit}/sample", "case", "frontier", "standing"),
        rows=tuple(rows),
    )


def _finding(contest: Contest, best: Sequence[CaseSummary], factor: float, unit: str) -> str:
    fastest, cheapest = best[0], best[-1]
    found = cheapest.metrics[_ENERGY]
    half = None if found.half_width is None else found.half_width * factor
    said = f"{format_number(found.value * factor, half)} {unit} per sample"
    sure = contest.ranking.certain and fastest is contest.ranking.leaders[0]
    if fastest is cheapest:
        both = "both fastest and cheapest" if sure else "cheapest"
        return f"{name_of(fastest, contest)} is {both}, at {said}"
    ratio = fastest.metrics[_ENERGY].value / cheapest.metrics[_ENERGY].value
    faster = compared(fastest, cheapest)
    known = faster is not None and faster.verdict == "faster"
    how = f"{times(faster.ratio.value)} as fast" if faster is not None and known else "not certainly faster,"
    which = f"the fastest, {name_of(fastest, contest)}," if sure else name_of(fastest, contest)
    return f"{name_of(cheapest, contest)} is cheapest at {said}; {which} is {how} for {times(ratio)} the energy"


def power_chart(contest: Contest, summary: RunSummary) -> Chart | None:
    """Mean power of each case; None if none was measured."""
    timed = contest.rankable if contest.timing == "throughput" else ()
    entries = [entry for entry in timed if _POWER in entry.metrics]
    if not entries:
        return None
    limit = _limit(entries, summary) if contest.first.device_type == "cuda" else None
    most = max(entries, key=lambda entry: entry.metrics[_POWER].value)
    watts = most.metrics[_POWER].value
    share = f", {format_percent(watts / limit, decimals=0)} of the {limit:.0f} W limit" if limit else ""
    finding = f"{most.case.precision} draws most, {watts:.0f} W on average{share}"
    rows: list[tuple[Datum, ...]] = []
    for entry in entries:
        precision, power = entry.case.precision, entry.metrics[_POWER].value
        rows.append((precision, power, None, None, precision, standing(entry), name_of(entry, contest)))
    return Chart(
        key=f"power-{contest.key}",
        form="dots",
        title=f"{contest.subject}: {finding}",
        reading=(
            "Each mark is the mean power of one case over its measured "
            f"window.{' The rule is the power limit.' if limit else ''}"
        ),
        alt=f"Strip of mean power by precision. {contest.subject}: {finding}.",
        columns=("precision", "W", "low", "high", "series", "standing", "case"),
        rows=tuple(rows),
        options={"x_title": "mean power, W", "limit": limit, "limit_label": "power limit", "zero": True},
    )


def _limit(entries: Sequence[CaseSummary], summary: RunSummary) -> float | None:
    """Power limit in W of the card the cases ran on; None if several cards differ."""
    limits = {
        float(gpu["power_limit_w"]) for gpu in summary.info.environment.get("gpus") or () if gpu.get("power_limit_w")
    }
    known = {
        float(limit)
        for entry in entries
        for record in entry.ok_records
        if (limit := (record.telemetry or {}).get("power_limit_w"))
    }
    found = known or limits
    return found.pop() if len(found) == 1 else None


def section(view: View) -> Section:
    charts = view.chart_each(energy_chart, lambda contest: power_chart(contest, view.summary))
    said = _scope_line(view.summary.cases)
    return metrics_section(view, "energy", "Energy and device state", _SHOWN, short="Energy", said=said, charts=charts)


def _scope_line(entries: Sequence[CaseSummary]) -> Line:
    """Whose joules these are; empty without any."""
    of_launches = (
        record.telemetry or {} for entry in entries if _ENERGY in entry.metrics for record in entry.ok_records
    )
    met = {str(found["energy_scope"]) for found in of_launches if found.get("energy_scope")}
    told = joined(sorted(_SCOPES.get(scope, scope) for scope in met))
    return (
        line(f"Joules are those of {told}, by the device's own meter, without the rest of the machine.") if told else ()
    )
