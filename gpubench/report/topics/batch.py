"""Speed against batch size, one line per precision."""

import math
from collections.abc import Mapping, Sequence

from gpubench.analysis.insight.best_settings import compared
from gpubench.analysis.insight.decision import batch_of
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.report.model.figure_cells import display_unit
from gpubench.report.model.report_model import Chart, Datum, Section
from gpubench.report.model.words import joined
from gpubench.report.view.contests import (
    BAND,
    DOTS,
    LAUNCH,
    Contest,
    by_batch,
    change,
    figure,
    has_figure,
    launch_dots,
    other_settings,
    standing,
    times,
    with_hollow,
)
from gpubench.report.view.run_view import View

_LEVELS_OFF = 1.05
"""A doubling of the batch that gains less is not worth its memory."""
_DOUBLED = 2.0

Lines = Mapping[str, Sequence[CaseSummary]]


def batch_chart(contest: Contest) -> Chart | None:
    """Speed against batch size; None if no precision was measured at two batch sizes or more."""
    lines = by_batch(contest)
    if not any(sum(map(has_figure, line)) > 1 for line in lines.values()):
        return None
    spec = METRICS[contest.metric]
    unit = display_unit(spec)
    rows = tuple(row for precision, line in lines.items() for row in _rows(precision, line, contest))
    shown = [entry for line in lines.values() for entry in line if has_figure(entry)]
    ran_out = any(entry.status is Status.OOM for line in lines.values() for entry in line)
    finding = _finding(contest, lines)
    lower = "lower" if contest.timing == "latency" else "higher"
    reading = f"Each line is one precision with the other settings of its best case; {lower} is faster. {BAND} {DOTS}"
    return Chart(
        key=f"batch-{contest.key}",
        form="lines",
        title=f"{contest.subject}: {finding}",
        reading=with_hollow(reading, shown) + (" The cross marks a batch that ran out of memory." if ran_out else ""),
        alt=f"Line chart of {unit} against batch size by precision. {contest.subject}: {finding}.",
        columns=("precision", "batch size", unit, "low", "high", "line", "standing", "other settings"),
        rows=rows,
        options={"x_scale": "log2"},
    )


def _rows(precision: str, line: Sequence[CaseSummary], contest: Contest) -> list[tuple[Datum, ...]]:
    others = other_settings(line, contest)
    factor = METRICS[contest.metric].display_factor
    rows: list[tuple[Datum, ...]] = []
    for entry in line:
        batch = batch_of(entry)
        if has_figure(entry):
            rows.append((precision, batch, *figure(entry, contest.metric), "", standing(entry), others))
            dots = launch_dots(entry, contest.metric, factor)
            rows += [(precision, batch, value, None, None, "", LAUNCH, launch) for launch, value in dots]
        elif entry.status is Status.OOM:
            rows.append((precision, batch, None, None, None, "", "OOM", others))
    return rows


def _finding(contest: Contest, lines: Lines) -> str:
    """Which precision leads at which batch, and whether larger batches still pay. Cases that may not win do not
    lead.
    """
    leaders = _leaders(lines, counted=True) or _leaders(lines, counted=False)
    last = leaders[max(leaders)][0]
    figures = {precision: [entry for entry in line if has_figure(entry)] for precision, line in lines.items()}
    scaled = last if len(figures[last]) > 1 else max(figures, key=lambda precision: len(figures[precision]))
    said = f"{scaled} {_scaling(figures[scaled], contest)}"
    if len(lines) == 1:
        return said
    from_batch = min(batch for batch in leaders if all(last in leaders[b] for b in leaders if b >= batch))
    led = [batch for batch in leaders if batch >= from_batch]
    sure = all(leaders[batch] == (last,) for batch in led)
    leads = f"{last} is fastest" if sure else f"nothing is clearly faster than {last}"
    drawn = {batch_of(entry) for line in lines.values() for entry in line if has_figure(entry)}
    if not {batch for batch in drawn if batch >= from_batch} <= set(led):  # some have only hollow points
        where = f"at batch {joined([str(batch) for batch in led])}"
    elif from_batch == min(leaders) < max(leaders):
        where = f"at {'every' if sure else 'any'} batch size"
    elif from_batch == min(leaders):
        where = f"at batch {from_batch}"
    else:
        others = joined(list(dict.fromkeys(leaders[batch][0] for batch in leaders if batch < from_batch)))
        where = f"from batch {from_batch} on" + (f", {others} below" if sure else "")
    if where == "at every batch size" and scaled == last:
        said = said.removeprefix(last).lstrip()
    then = " and" if where == "at every batch size" else ";"
    return f"{leads} {where}{then} {said}{_not_counted(lines, leaders)}"


def _leaders(lines: Lines, *, counted: bool) -> dict[int, tuple[str, ...]]:
    """The fastest precision at each batch size that all were tried at (if there is none: at each batch size), followed
    by those not certainly slower.

    `counted`: only of cases that may win.
    """
    entries: dict[int, list[CaseSummary]] = {}
    tried = [
        {batch_of(entry) for entry in line if has_figure(entry) or entry.status is Status.OOM}
        for line in lines.values()
        if any(map(has_figure, line))
    ]
    shared = set.intersection(*tried)
    for entry in (entry for line in lines.values() for entry in line):
        if has_figure(entry) and (entry.may_win or not counted) and (not shared or batch_of(entry) in shared):
            entries.setdefault(batch_of(entry), []).append(entry)
    leaders: dict[int, tuple[str, ...]] = {}
    for batch, found in sorted(entries.items()):
        first, *rest = sorted(found, key=lambda entry: -(entry.rank_speed or 0.0))
        leaders[batch] = tuple(
            entry.case.precision for entry in (first, *(each for each in rest if not _faster(first, each)))
        )
    return leaders


def _faster(first: CaseSummary, second: CaseSummary) -> bool:
    found = compared(first, second)
    return found is not None and found.verdict == "faster"


def _not_counted(lines: Lines, leaders: Mapping[int, tuple[str, ...]]) -> str:
    """Precisions that were faster at some batch, but may not win."""
    faster = set()
    for entry in (entry for line in lines.values() for entry in line):
        batch = batch_of(entry)
        if has_figure(entry) and not entry.may_win and batch in leaders:
            leader = next(each.rank_speed for each in lines[leaders[batch][0]] if batch_of(each) == batch)
            faster |= {entry.case.precision} if (entry.rank_speed or 0.0) > (leader or math.inf) else set()
    return f" ({joined(sorted(faster))}, hollow, was faster and does not count)" if faster else ""


def _scaling(line: Sequence[CaseSummary], contest: Contest) -> str:
    """The effect of batch size on the throughput or latency of one precision."""
    first, last = line[0], line[-1]
    if first is last:
        return f"was measured at batch {batch_of(first)} alone"
    span = f"from batch {batch_of(first)} to {batch_of(last)}"
    found = compared(last, first)
    if found is None or not found.certain:
        return f"shows no certain change {span}"
    ratio = found.ratio.value
    if contest.timing == "latency":
        return f"takes {times(1 / ratio)} as long {span}"
    flat = _flat_from(line)
    ending = f", levelling off at {flat}" if flat is not None and ratio > _LEVELS_OFF else ""
    if ratio >= _DOUBLED:
        return f"is {times(ratio)} as fast at batch {batch_of(last)} as at {batch_of(first)}{ending}"
    if found.verdict == "same":
        return f"keeps its speed {span}"
    amount = change(ratio).lstrip("+-")
    return f"gains {amount} {span}{ending}" if ratio > 1 else f"loses {amount} {span}"


def _flat_from(line: Sequence[CaseSummary]) -> int | None:
    """The smallest batch size after which no doubling gains 5 %; None if the last one still does."""
    flat = None
    for small, large in zip(reversed(line[:-1]), reversed(line[1:]), strict=True):
        doublings = math.log2(batch_of(large) / batch_of(small))
        gain = ((large.rank_speed or 1.0) / (small.rank_speed or 1.0)) ** (1 / doublings)
        if gain >= _LEVELS_OFF:
            break
        flat = batch_of(small)
    return flat


def section(view: View) -> Section:
    return Section("batch", "Batch size", charts=view.chart_each(batch_chart))
