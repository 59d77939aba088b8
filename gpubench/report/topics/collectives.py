"""Collectives: bus bandwidth over message size."""

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import format_bytes, format_duration, format_number, parse_bytes
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.report_model import Chart, Line, Section, line, strong
from gpubench.report.view.case_tables import case_table, metrics_present
from gpubench.report.view.contests import BAND, Contest, figure, standing, with_hollow
from gpubench.report.view.run_view import View

_SHOWN = ("busbw", "algbw", "step_time_s")
_KIB = 1024
_NOTE = (
    "algbw is the message over its time; busbw what a link carries at least, as nccl-tests defines both. No link speed "
    "is known here to compare with."
)


def section(view: View) -> Section:
    cases = (entry for entry in view.summary.cases if entry.case.is_collective)
    entries = [entry for entry in cases if entry.status is not Status.SKIPPED]
    if not metrics_present(entries, ("busbw",)):
        return Section("collectives", "Collectives")
    shown = metrics_present(entries, _SHOWN)
    table = case_table("collectives", entries, view.axes, shown, notes=(line(_NOTE),))
    return Section("collectives", "Collectives", tables=(table,), charts=view.chart_each(bandwidth_chart))


def bandwidth_chart(contest: Contest) -> Chart | None:
    """One collective, with a line per precision and number of ranks; None for other workloads, or a single size."""
    shown = _measured(contest)
    if len({_message_bytes(entry) for entry in shown}) < 2:
        return None
    shown.sort(key=_message_bytes)
    rows = []
    for entry in shown:
        case, size = entry.case, _message_bytes(entry) / _KIB
        kind = f"{case.world_size} ranks, {case.carrier}"
        rows.append((case.precision, size, *figure(entry, "busbw"), kind, standing(entry), entry.label))
    best = max(shown, key=lambda entry: entry.metrics["busbw"].value)
    name = best.case.workload.partition(":")[2]
    speed = format_number(figure(best, "busbw")[0])
    title = f"{name} carries up to {speed} GB/s, at {format_bytes(_message_bytes(best))}"
    reading = f"Each line is one number of ranks; small messages are bound by latency, large ones by the link. {BAND}"
    return Chart(
        key=f"busbw-{contest.key}",
        form="lines",
        title=title,
        reading=with_hollow(reading, shown),
        alt=f"Line chart of bus bandwidth in GB/s against message size in KiB. {title}.",
        columns=("precision", "message KiB", "busbw GB/s", "low", "high", "ranks", "standing", "case"),
        rows=tuple(rows),
        options={"x_scale": "log2", "y_scale": "log", "zero": False},
    )


def bandwidth_sentence(contest: Contest) -> Line | None:
    """The highest bandwidth of one collective, and the latency of its smallest message; None for other workloads."""
    shown = _measured(contest)
    if not shown:
        return None
    best = max(shown, key=lambda entry: entry.metrics["busbw"].value)
    least = min(shown, key=_message_bytes)
    busbw = metric_cell("busbw", best.metrics, spread=True)
    name, size = best.case.workload.partition(":")[2], format_bytes(_message_bytes(best))
    text = f" carried up to {busbw.text} GB/s {busbw.spread}".rstrip() + f" (busbw) at {size}"
    taken = format_duration(least.metrics["step_time_s"].value / least.case.batch)
    text += f" between {best.case.world_size} ranks over {best.case.carrier}"
    return line(strong(name), f"{text}; {format_bytes(_message_bytes(least))} took {taken}.")


def _measured(contest: Contest) -> list[CaseSummary]:
    return [entry for entry in contest.rankable if entry.case.is_collective and "busbw" in entry.metrics]


def _message_bytes(entry: CaseSummary) -> int:
    """The size actually sent, which may be slightly below the requested one."""
    sent_bytes = None if entry.effective is None else entry.effective.extra.get("message_bytes")
    return int(sent_bytes) if isinstance(sent_bytes, int) else parse_bytes(entry.case.shape or "0")
