"""Collectives: bus bandwidth over message size."""

from collections.abc import Sequence
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import Status
from gpubench.core.units import format_bytes, format_duration, format_number, format_percent, parse_bytes
from gpubench.report.model.figure_cells import metric_cell
from gpubench.report.model.report_model import Chart, Line, Section, line, strong
from gpubench.report.view.case_tables import case_table, metrics_present
from gpubench.report.view.contests import BAND, Contest, figure, standing, with_hollow
from gpubench.report.view.run_view import View
from gpubench.suite.model.workload_names import LINK

_SHOWN = ("busbw", "algbw", "step_time_s")
_KIB, _GB = 1024, 1e9
_NOTE = "algbw is the message over its time; busbw the least that a link must carry, as nccl-tests defines both."
_NO_LINK = " `params.link` states the link's speed (450GB: a second) to compare with."


def section(view: View) -> Section:
    cases = (entry for entry in view.summary.cases if entry.case.is_collective)
    entries = [entry for entry in cases if entry.status is not Status.SKIPPED]
    if not metrics_present(entries, ("busbw",)):
        return Section("collectives", "Collectives")
    shown = metrics_present(entries, _SHOWN)
    note = _NOTE if all(map(_link_gb_s, entries)) else _NOTE + _NO_LINK
    table = case_table("collectives", entries, view.axes, shown, notes=(line(note),))
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
        options={"x_scale": "log2", "y_scale": "log", "zero": False, **_limit(shown)},
    )


def _link_gb_s(entry: CaseSummary) -> float | None:
    """The speed of the link that the case states, in GB/s; None if it states none, or no size."""
    try:
        return parse_bytes(entry.case.params.get(LINK, "")) / _GB
    except ValueError:
        return None


def _limit(shown: Sequence[CaseSummary]) -> dict[str, Any]:
    """The link's speed as a line, if all cases state the same."""
    links = {_link_gb_s(entry) for entry in shown}
    link = links.pop() if len(links) == 1 else None
    return {} if link is None else {"limit": link, "limit_label": "the link, as stated"}


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
    link = _link_gb_s(best)
    if link is not None:
        text += f", {format_percent(figure(best, 'busbw')[0] / link)} of the link's {format_number(link)} GB/s"
    return line(strong(name), f"{text}; {format_bytes(_message_bytes(least))} took {taken}.")


def _measured(contest: Contest) -> list[CaseSummary]:
    return [entry for entry in contest.rankable if entry.case.is_collective and "busbw" in entry.metrics]


def _message_bytes(entry: CaseSummary) -> int:
    """The size actually sent, which may be slightly below the requested one."""
    sent_bytes = None if entry.effective is None else entry.effective.extra.get("message_bytes")
    return int(sent_bytes) if isinstance(sent_bytes, int) else parse_bytes(entry.case.shape or "0")
