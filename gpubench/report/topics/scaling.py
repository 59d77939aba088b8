"""What several ranks make of one: efficiency, communication, and the rank that holds the others up."""

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Section, line
from gpubench.report.view.case_tables import absent_notes, case_table, metrics_present
from gpubench.report.view.contests import BAND, Contest, figure, standing, with_hollow
from gpubench.report.view.run_view import View

_SHOWN = (
    "scaling_efficiency",
    "throughput",
    "own_time_s",
    "exposed_communication_s",
    "communication_share",
    "rank_skew",
)
_NOTE = (
    "efficiency: samples/s over the number of ranks times those of one process, within rounds. own: the longest time "
    "until a rank's gradients are ready; exposed: what follows until all are summed."
)


def section(view: View) -> Section:
    entries = [entry for entry in view.summary.cases if _has_ranks(entry)]
    if not metrics_present(entries, _SHOWN):
        return Section("scaling", "Scaling")
    axes = tuple(name for name in view.axes if name != "cpu_threads")
    notes = (line(_NOTE), *absent_notes(entries, _SHOWN))
    table = case_table("scaling", entries, axes, metrics_present(entries, _SHOWN), notes=notes)
    stragglers = [
        line(f"{entry.label}: {found.message}")
        for entry in entries
        for found in entry.findings
        if found.code == "GB214"
    ]
    charts = view.chart_each(efficiency_chart)
    return Section("scaling", "Scaling", lines=tuple(stragglers), tables=(table,), charts=charts)


def efficiency_chart(contest: Contest) -> Chart | None:
    """Efficiency over the number of ranks; None where fewer than two numbers were measured."""
    shown = [entry for entry in contest.rankable if _has_ranks(entry) and "scaling_efficiency" in entry.metrics]
    if len({entry.case.world_size for entry in shown}) < 2:
        return None
    shown.sort(key=lambda entry: entry.case.world_size)
    rows = []
    for entry in shown:
        case, found = entry.case, figure(entry, "scaling_efficiency")
        kind = f"{case.strategy}, {case.scaling}"
        rows.append((case.precision, case.world_size, *found, kind, standing(entry), entry.label))
    last = shown[-1]
    share = format_percent(last.metrics["scaling_efficiency"].value)
    title = f"{contest.subject}: {last.case.world_size} ranks keep {share} of their speed ({last.case.scaling} scaling)"
    reading = f"Each line is one precision and way of scaling; 100 % is the speed of as many processes alone. {BAND}"
    return Chart(
        key=f"scaling-{contest.key}",
        form="lines",
        title=title,
        reading=with_hollow(reading, shown),
        alt=f"Line chart of scaling efficiency in per cent against the number of ranks. {title}.",
        columns=("precision", "ranks", "efficiency %", "low", "high", "scaling", "standing", "case"),
        rows=tuple(rows),
        options={"x_scale": "log2", "limit": 100.0, "limit_label": "as fast as alone"},
    )


def _has_ranks(entry: CaseSummary) -> bool:
    return entry.case.world_size > 1 and not entry.case.workload.startswith("collectives:")
