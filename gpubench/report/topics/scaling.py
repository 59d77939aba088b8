"""Scaling over ranks: efficiency, communication, and the rank that slows the others down."""

from collections.abc import Sequence

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.records import RankRecord, Status
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Datum, Line, Section, line
from gpubench.report.view.case_tables import absent_notes, case_table, metrics_present
from gpubench.report.view.contests import BAND, Contest, figure, name_of, standing, with_hollow
from gpubench.report.view.run_view import View

_SHOWN = (
    "scaling_efficiency",
    "throughput",
    "own_time_s",
    "exposed_communication_s",
    "communication_share",
    "rank_skew",
)
_MS, _PARTS, _MOST_RANKS = 1e3, 3, 16
_NOTE = (
    "efficiency: samples/s over the number of ranks times those of one process, within rounds. own: the longest time "
    "until a rank's gradients are ready; exposed: what follows until all are summed."
)


def section(view: View) -> Section:
    entries = [entry for entry in view.summary.cases if _has_ranks(entry) and entry.status is not Status.SKIPPED]
    if not metrics_present(entries, _SHOWN):
        return Section("scaling", "Scaling")
    axes = tuple(name for name in view.axes if name != "cpu_threads")
    notes = (line(_NOTE), *absent_notes(entries, _SHOWN), *_without_own_time(entries))
    table = case_table("scaling", entries, axes, metrics_present(entries, _SHOWN), notes=notes)
    stragglers = [
        line(f"{entry.label}: {found.message}")
        for entry in entries
        for found in entry.findings
        if found.code == "GB214"
    ]
    charts = (*view.chart_each(efficiency_chart), *view.chart_each(ranks_chart))
    return Section("scaling", "Scaling", lines=tuple(stragglers), tables=(table,), charts=charts)


def _without_own_time(entries: Sequence[CaseSummary]) -> list[Line]:
    """Why some strategies have no own time, if others have."""
    reasons = {entry.case.strategy: entry.metrics.why_absent("own_time_s") for entry in entries}
    if not any("own_time_s" in entry.metrics for entry in entries):
        return []
    return [line(f"{name}: n/a ({reason})") for name, reason in reasons.items() if reason is not None]


def efficiency_chart(contest: Contest) -> Chart | None:
    """Efficiency over the number of ranks, from one process up; None if no case has any."""
    shown = [entry for entry in contest.rankable if _has_ranks(entry) and "scaling_efficiency" in entry.metrics]
    if not shown:
        return None
    shown.sort(key=lambda entry: entry.case.world_size)
    rows: list[tuple[Datum, ...]] = []
    for entry in shown:
        case, found = entry.case, figure(entry, "scaling_efficiency")
        kind = f"{case.strategy}, {case.scaling}"
        alone = (case.precision, 1, 100.0, 100.0, 100.0, kind, "valid", "one process")
        rows += [alone] if alone not in rows else []
        rows.append((case.precision, case.world_size, *found, kind, standing(entry), entry.label))
    last = shown[-1]
    share = format_percent(last.metrics["scaling_efficiency"].value)
    how = f"{last.case.strategy}, {last.case.scaling} scaling"
    title = f"{contest.subject}: {last.case.world_size} ranks keep {share} of their speed ({how})"
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


def ranks_chart(contest: Contest) -> Chart | None:
    """What each rank does in a step, for the cases whose ranks differ most; None if no rank's own time is known."""
    with_ranks = [
        (entry, ranks) for entry in contest.rankable if _has_ranks(entry) and (ranks := _with_own_time(entry))
    ]
    if not with_ranks:
        return None
    with_ranks.sort(key=lambda pair: -_spread(pair[1]))
    rows: list[tuple[Datum, ...]] = []
    for entry, ranks in with_ranks:
        if rows and len(rows) + _PARTS * len(ranks) > _PARTS * _MOST_RANKS:
            break
        for rank in ranks:
            name = f"{rank_name(rank)} of {name_of(entry, contest)}"
            own, exposed = (rank.own_time_s or 0.0) * _MS, (rank.exposed_communication_s or 0.0) * _MS
            end = max(own + exposed, (rank.step_time_s or 0.0) * _MS)
            rows += [
                (name, "own", 0.0, own),
                (name, "waits and sums", own, own + exposed),
                (name, "rest", own + exposed, end),
            ]
    entry, ranks = with_ranks[0]
    slow = max(ranks, key=lambda rank: rank.own_time_s or 0.0)
    share = format_percent(_spread(ranks))
    name = f"{rank_name(slow).capitalize()} of {name_of(entry, contest)}"
    title = f"{name} takes {share} longer than the fastest to its gradients"
    return Chart(
        key=f"ranks-{contest.key}",
        form="strip",
        title=title,
        reading="Each bar is a step of one rank. Ranks with a short part of their own wait for the others.",
        alt=f"Bars of the parts of a step by rank, in ms. {title}.",
        columns=("rank", "part", "from ms", "to ms"),
        rows=tuple(rows),
        options={"x_title": "ms"},
    )


def rank_name(rank: RankRecord) -> str:
    return f"rank {rank.rank}"


def _with_own_time(entry: CaseSummary) -> tuple[RankRecord, ...]:
    """The ranks of the last launch in which the own time of all is known."""
    launches = (record.ranks for record in reversed(entry.ok_records))
    return next((ranks for ranks in launches if ranks and all(rank.own_time_s for rank in ranks)), ())


def _spread(ranks: Sequence[RankRecord]) -> float:
    own = [rank.own_time_s or 0.0 for rank in ranks]
    return max(own) / min(own) - 1


def _has_ranks(entry: CaseSummary) -> bool:
    return entry.case.world_size > 1 and not entry.case.is_collective
