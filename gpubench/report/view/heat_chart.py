"""The heat map of a contest: speed over the two settings that matter most."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from gpubench.analysis.insight.best_settings import compared
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import title, word
from gpubench.report.view.contests import Contest, times
from gpubench.suite.cases.labels import short_word, varying
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import LEGEND_ORDER

_MOST_VALUES = 12
_LEAST_FIELDS = 4

Fields = dict[tuple[Any, Any], CaseSummary]


def heat_chart(contest: Contest) -> Chart | None:
    """A heat map over the two settings that matter most; None if fewer than two vary around the fastest case."""
    usable = contest.rankable
    if not usable:
        return None
    assert contest.ranking.first is not None, "a contest with a figure"
    best = contest.ranking.first.summary
    spreads = {}
    for name in varying(entry.case for entry in usable):
        equal = [] if isinstance(getattr(best.case, name), dict) else _equal_but_for(usable, best, (name,))
        if 2 <= len(equal) <= _MOST_VALUES:
            speeds = [entry.rank_speed or 1.0 for entry in equal]
            spreads[name] = max(speeds) / min(speeds)
    axes = sorted(spreads, key=lambda name: -spreads[name])[:2]
    if len(axes) < 2:
        return None
    across, down = sorted(axes, key=lambda name: name != "batch_size")
    fields = {
        (getattr(entry.case, across), getattr(entry.case, down)): entry
        for entry in _equal_but_for(usable, best, (across, down))
    }
    return _heat(contest, across, down, fields, best) if len(fields) >= _LEAST_FIELDS else None


def _heat(contest: Contest, across: str, down: str, fields: Fields, best: CaseSummary) -> Chart:
    slowest = min(fields, key=lambda place: fields[place].rank_speed or 0.0)
    fastest = max(fields, key=lambda place: fields[place].rank_speed or 0.0)
    first, second = (f"{short_word(across, x)} {word(down, y)}" for x, y in (fastest, slowest))
    found = compared(fields[fastest], fields[slowest])
    finding = f"no field is certainly faster than {second}"
    if found is not None and found.verdict == "faster":
        finding = f"{first} is {times(found.ratio.value)} as fast as {second}"
    columns, rows = (
        sorted(
            {place[at] for place in fields},
            key=LEGEND_ORDER.index if name == "precision" else lambda value: (value is not None, value or 0),
        )
        for at, name in enumerate((across, down))
    )
    held = " ".join(
        short_word(name, getattr(best.case, name)) for name in contest.differing if name not in (across, down)
    )
    data: list[tuple[Datum, ...]] = [
        (word(across, x), word(down, y), (fields[x, y].rank_speed or 0.0) / (fields[slowest].rank_speed or 1.0))
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
        options={"x_order": [word(across, x) for x in columns], "y_order": [word(down, y) for y in rows]},
    )


def _equal_but_for(cases: Sequence[CaseSummary], best: CaseSummary, names: tuple[str, ...]) -> list[CaseSummary]:
    rest = itemgetter(*(name for name in Case.model_fields if name not in names))
    wanted = rest(best.case.__dict__)
    return [entry for entry in cases if rest(entry.case.__dict__) == wanted]
