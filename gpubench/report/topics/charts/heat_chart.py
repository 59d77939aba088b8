"""Speed over two settings at once, all others held at those of the fastest case."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpubench.analysis.insight.best_settings import best_overall, best_settings, speed
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.setting_words import title, varying, word
from gpubench.report.topics.charts.phrases import times
from gpubench.report.topics.contests import PRECISIONS, Contest
from gpubench.suite.cases.labels import short_word

_MOST_VALUES = 12
_LEAST_FIELDS = 4

Fields = dict[tuple[Any, Any], CaseSummary]


def heat_chart(contest: Contest) -> Chart | None:
    """The map over the two settings that move the speed most; None where fewer than two vary around the fastest case."""
    usable = contest.rankable
    if not usable:
        return None
    best = max(best_overall(best_settings(usable)), key=lambda one: (one.won, speed(one.summary) or 0.0)).summary
    axes = sorted(_axes(usable, best), key=lambda name: -_spread(_equal_but_for(usable, best, (name,))))[:2]
    if len(axes) < 2:
        return None
    across, down = sorted(axes, key=lambda name: name != "batch_size")
    fields = {
        (getattr(entry.case, across), getattr(entry.case, down)): entry
        for entry in _equal_but_for(usable, best, (across, down))
    }
    return _chart(contest, across, down, fields, best) if len(fields) >= _LEAST_FIELDS else None


def _chart(contest: Contest, across: str, down: str, fields: Fields, best: CaseSummary) -> Chart:
    slowest = min(fields, key=lambda place: speed(fields[place]) or 0.0)
    fastest = max(fields, key=lambda place: speed(fields[place]) or 0.0)
    ratio = (speed(fields[fastest]) or 1.0) / (speed(fields[slowest]) or 1.0)
    pairs = [f"{short_word(across, x)} {word(down, y)}" for x, y in (fastest, slowest)]
    finding = f"{pairs[0]} is {times(ratio)} as fast as {pairs[1]}"
    columns, rows = (_ordered(name, {place[at] for place in fields}) for at, name in enumerate((across, down)))
    held = " ".join(
        short_word(name, getattr(best.case, name)) for name in contest.differing if name not in (across, down)
    )
    data: list[tuple[Datum, ...]] = [
        (word(across, x), word(down, y), (speed(fields[x, y]) or 0.0) / (speed(fields[slowest]) or 1.0))
        for y in rows
        for x in columns
        if (x, y) in fields
    ]
    return Chart(
        key=f"heat-{contest.key}",
        form="heat",
        title=f"{contest.subject}: {finding}",
        reading=(
            f"Each field is one case: its speed as a multiple of the slowest field; darker is faster."
            f"{f' All have {held} in common.' if held else ''}"
        ),
        alt=f"Heat map of speed over {title(down)} and {title(across)}. {contest.subject}: {finding}.",
        columns=(title(across), title(down), "times the slowest"),
        rows=tuple(data),
        options={
            "x_order": [word(across, x) for x in columns],
            "y_order": [word(down, y) for y in rows],
        },
    )


def _axes(cases: Sequence[CaseSummary], best: CaseSummary) -> list[str]:
    """Settings of which two to twelve values were measured with all others as in `best`."""
    names = [name for name in varying(entry.case for entry in cases) if not isinstance(getattr(best.case, name), dict)]
    return [name for name in names if 2 <= len(_equal_but_for(cases, best, (name,))) <= _MOST_VALUES]


def _equal_but_for(cases: Sequence[CaseSummary], best: CaseSummary, names: tuple[str, ...]) -> list[CaseSummary]:
    wanted = _rest(best, names)
    return [entry for entry in cases if _rest(entry, names) == wanted]


def _rest(entry: CaseSummary, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in entry.case.settings.items() if name not in names}


def _spread(cases: Sequence[CaseSummary]) -> float:
    speeds = [speed(entry) or 1.0 for entry in cases]
    return max(speeds) / min(speeds)


def _ordered(name: str, values: Iterable[Any]) -> list[Any]:
    if name == "precision":
        return sorted(values, key=PRECISIONS.index)
    return sorted(values, key=lambda value: (value is not None, value if value is not None else 0))
