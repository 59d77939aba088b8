"""Charts of two runs at once: the reference dashed or hollow, the candidate solid."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.compare.compare_sides import Compared, speed_change
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import verdict_word
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import count, joined, sentence
from gpubench.report.topics.batch import batch_chart
from gpubench.report.topics.energy import energy_chart
from gpubench.report.topics.memory import memory_chart
from gpubench.report.view.contests import LAUNCH, Contest, charted
from gpubench.report.view.score_charts import accuracy_charts

_MOST_ROWS = 16
_SAME_MEMORY = 0.001
_REFERENCE = "reference"


def versus_charts(compared: Compared, before: RunSummary, after: RunSummary, suffix: str = "") -> tuple[Chart, ...]:
    """Changes, then speed, memory, energy and scores of both. `suffix` distinguishes the keys of several
    comparisons.
    """
    theirs = {contest.key: contest for contest in charted(Decision(before))}
    pairs = [(theirs[contest.key], contest) for contest in charted(Decision(after)) if contest.key in theirs]
    names = (compared.reference.name, compared.candidate.name)
    charts = [_moved(compared), *(chart for pair in pairs for chart in _pair(pair, names, compared))]
    charts += _scores(before, after, names)
    return tuple(replace(chart, key=f"{chart.key}{suffix}") for chart in charts if chart is not None)


def _moved(compared: Compared) -> Chart | None:
    """Every case's speed over the reference's, the largest change first."""
    rows: list[tuple[Datum, ...]] = []
    for change in compared.changes:
        moved = speed_change(change)
        ratios = None if moved is None else _speed_ratio(moved)
        if moved is not None and moved.change is not None and ratios is not None:
            rows.append((change.label, *ratios, max(1, moved.change.n), verdict_word(moved)))
    if not rows:
        return None
    words = Counter(str(row[5]) for row in rows)
    rows.sort(key=lambda row: -abs(math.log(float(row[1] or 1.0))))
    parts = [f"{words[word]} {word}" for word in ("slower", "faster", "same", "unclear") if words[word]]
    most = format_percent(float(rows[0][1] or 1.0) - 1, signed=True)
    finding = f"{joined(parts)} of {count(len(rows), 'case')}; {rows[0][0]} moved most, by {most}"
    more = f" The {_MOST_ROWS} that moved most of {len(rows)}." if len(rows) > _MOST_ROWS else ""
    return Chart(
        key="moved",
        form="forest",
        title=f"Speed: {finding}",
        reading=(
            f"Each row is one case: speed of {compared.candidate.name} over that of {compared.reference.name}, with "
            f"its 95 % interval. Right of 1 is faster; grey is no verdict.{more}"
        ),
        alt=f"Forest plot of speed ratios by case. {finding}.",
        columns=("case", "speed ratio", "low", "high", "launches", "verdict"),
        rows=tuple(rows[:_MOST_ROWS]),
        options={"x_title": "times as fast as the reference"},
    )


def _speed_ratio(moved: MetricChange) -> tuple[float, float | None, float | None] | None:
    """Candidate over reference speed with its interval: above 1 is faster, for times as for rates."""
    if moved.change is None or not math.isfinite(moved.change.value) or moved.change.value <= -1:
        return None
    value = 1 + moved.change.value
    low, high = (None if end is None else 1 + end for end in (moved.change.low, moved.change.high))
    if METRICS[moved.metric].better == "higher":
        return value, low, high
    inverse = [None if end is None or end <= 0 else 1 / end for end in (high, low)]
    return 1 / value, inverse[0], inverse[1]


def _pair(pair: tuple[Contest, Contest], names: tuple[str, str], compared: Compared) -> Iterable[Chart | None]:
    finding = _finding(pair[1], compared)
    yield _lines(batch_chart(pair[0]), batch_chart(pair[1]), names, f"{pair[1].subject}: {finding}")
    yield _lines(
        memory_chart(pair[0]),
        memory_chart(pair[1]),
        names,
        f"{pair[1].subject}: {_memory(pair[1], compared)}",
        only="allocated",
    )
    yield _energy(pair, names, compared)


def _lines(
    before: Chart | None, after: Chart | None, names: tuple[str, str], title: str, only: str = ""
) -> Chart | None:
    """Joins two line charts; of several kinds of lines only the one named."""
    if before is None or after is None:
        return None
    rows = tuple(
        (*row[:5], name, *row[6:])
        for chart, name in ((after, names[1]), (before, names[0]))
        for row in chart.rows
        if not only or row[5] in (only, "resident")
    )
    return replace(
        after,
        title=title,
        rows=rows,
        alt=f"{after.alt.partition('.')[0]}, of two runs. {title}.",
        reading=f"Each line is one precision: solid {names[1]}, dashed {names[0]}.",
    )


def _changes(contest: Contest, compared: Compared) -> list[CaseChange]:
    mine = {entry.planned.case_id for entry in contest.cases}
    return [change for change in compared.changes if change.case_id in mine]


def _finding(contest: Contest, compared: Compared) -> str:
    """The geometric mean of the speed ratios, and the case that moved most."""
    ratios = {}
    for change in _changes(contest, compared):
        moved = speed_change(change)
        ratio = None if moved is None else _speed_ratio(moved)
        if ratio is not None:
            ratios[change.label] = ratio[0]
    if not ratios:
        return "no case was measured on both sides"
    mean = math.exp(sum(math.log(ratio) for ratio in ratios.values()) / len(ratios))
    most = max(ratios, key=lambda label: abs(math.log(ratios[label])))
    said = f"speed {format_percent(mean - 1, signed=True)} on average of {count(len(ratios), 'case')}"
    return f"{said}, {format_percent(ratios[most] - 1, signed=True)} at most ({most})"


def _memory(contest: Contest, compared: Compared) -> str:
    moved = [
        (change.label, found.change.value)
        for change in _changes(contest, compared)
        for name, found in change.changes.items()
        if name in ("peak_memory_allocated_bytes", "peak_rss_bytes") and found.change is not None
    ]
    if not moved:
        return "memory was not measured on both sides"
    label, most = max(moved, key=lambda each: abs(each[1]))
    if abs(most) < _SAME_MEMORY:
        return "memory is the same"
    return f"memory moves by {format_percent(most, signed=True)} at most ({label})"


def _energy(pair: tuple[Contest, Contest], names: tuple[str, str], compared: Compared) -> Chart | None:
    """Each case before and after, joined by a line."""
    charts = [energy_chart(contest) for contest in pair]
    if charts[0] is None or charts[1] is None or charts[0].columns != charts[1].columns:
        return None
    rows = [
        (*row[:4], "", standing)
        for chart, standing in ((charts[0], _REFERENCE), (charts[1], "valid"))
        for row in chart.rows
    ]
    moved = [
        found.change.value
        for change in _changes(pair[1], compared)
        if (found := change.changes.get("energy_per_sample_j")) is not None and found.change is not None
    ]
    if not moved:
        return None
    mean = sum(moved) / len(moved)
    title = (
        f"{pair[1].subject}: energy per sample {format_percent(mean, signed=True)} on average of "
        f"{count(len(moved), 'case')}"
    )
    return replace(
        charts[1],
        title=title,
        rows=tuple(rows),
        alt=f"Scatter chart of energy per sample against throughput, of two runs. {title}.",
        reading=(
            f"Each line is one case, from {names[0]} (hollow) to {names[1]} (filled); right is faster, down is cheaper."
        ),
        options={"join": True},
    )


def _scores(before: RunSummary, after: RunSummary, names: tuple[str, str]) -> list[Chart]:
    """The score of each task that both runs trained."""
    firsts, seconds = (
        {chart.key: chart for chart in accuracy_charts(summary) if chart.form == "dots"} for summary in (before, after)
    )
    return [_score_of_both(first, seconds[key], names) for key, first in firsts.items() if key in seconds]


def _score_of_both(first: Chart, second: Chart, names: tuple[str, str]) -> Chart:
    score = str(second.options["x_title"]).partition(",")[0]
    sides = ((first, _REFERENCE, names[0]), (second, "valid", names[1]))
    rows = [(*row[:5], standing, name) for chart, standing, name in sides for row in chart.rows if row[5] != LAUNCH]
    known, now = (
        {str(row[0]): float(row[1] or 0.0) for row in rows if row[5] == side} for side in (_REFERENCE, "valid")
    )
    moved = {name: value - known[name] for name, value in now.items() if name in known}
    most = max(moved, key=lambda name: abs(moved[name]), default="")
    task, named, _ = second.title.partition(": ")  # of several
    said = f"{task}: {score}" if named else sentence(score)
    finding = f"{said} moved by {moved[most]:+.1f} points at most ({most})" if moved else f"{said} of both runs"
    return replace(
        second,
        title=finding,
        rows=tuple(rows),
        alt=f"Dot chart of {score} by precision, of two runs. {finding}.",
        columns=(*second.columns[:6], "run"),
        reading=f"{said} at each precision with its 95 % interval: filled {names[1]}, hollow {names[0]}.",
    )
