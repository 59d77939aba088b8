"""What each setting does, all others equal."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpubench.analysis.insight.best_settings import best_overall, best_settings, speed
from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import ratio_cell, ratio_text
from gpubench.report.model.report_model import EMPTY, Cell, Chart, Column, Datum, Row, Section, Table, Tone, line
from gpubench.report.model.setting_words import title, varying, word
from gpubench.report.model.words import place, task
from gpubench.report.view.contests import MOST_CHARTED, Contest, rank
from gpubench.report.view.phrases import times
from gpubench.report.view.run_view import View
from gpubench.suite.cases.labels import short_word
from gpubench.suite.model.precisions import LEGEND_ORDER

_OF_INTEREST = 0.03
_COLUMNS = (
    Column("mark", "", "left"),
    Column("factor", "setting", "left"),
    Column("change", "from -> to", "left"),
    Column("context", "where", "left"),
    Column("speed", "speed"),
    Column("pairs", "pairs", priority=3),
    Column("range", "least to most", priority=4),
    Column("memory", "memory", priority=2),
    Column("verdict", "reading", "left", priority=5),
)


def effects_table(summary: RunSummary, effects: Sequence[FactorEffect] | None = None) -> Table | None:
    """One row per setting, change and place; None where no two cases differ in one setting alone."""
    found = factor_effects(summary.cases) if effects is None else effects
    rows = tuple(_row(effect, found) for effect in found)
    notes = (
        line(
            "speed: geometric mean of the ratios over pairs of cases that are otherwise equal, with its 95 % interval; above 1 is faster."
        ),
        line(
            f"+ faster, - slower; = the same: the whole interval is within {format_percent(_OF_INTEREST)} of 1; "
            "? unclear: the interval holds 1, or one launch a side gives none."
        ),
    )
    return Table("effects", _COLUMNS, rows, notes=notes).without_empty_columns() if rows else None


def _row(effect: FactorEffect, everything: Sequence[FactorEffect]) -> Row:
    mark, verdict, tone = _verdict(effect)
    change = f"{word(effect.factor, effect.base)} -> {word(effect.factor, effect.value)}"
    cells = (
        Cell(mark),
        Cell(title(effect.factor)),
        Cell(change),
        Cell(_where_in_table(effect, everything)),
        ratio_cell(effect.ratio),
        Cell(str(effect.num_pairs), value=effect.num_pairs),
        Cell(f"{effect.least.ratio:.2f} to {effect.most.ratio:.2f}" if effect.num_pairs > 1 else ""),
        Cell(f"{effect.memory_ratio.value:.2f}x", value=effect.memory_ratio.value) if effect.memory_ratio else EMPTY,
        Cell(verdict + (f", {effect.num_suspect} of the pairs weakened" if effect.num_suspect else "")),
    )
    return Row(cells, tone)


def _verdict(effect: FactorEffect) -> tuple[str, str, Tone]:
    low, high = effect.ratio.low, effect.ratio.high
    if low is None or high is None:
        return "?", "no interval", "muted"
    if low > 1:
        return "+", "faster", "good"
    if high < 1:
        return "-", "slower", "bad"
    return ("=", "same", "plain") if _same(low, high) else ("?", "unclear", "muted")


def _same(low: float, high: float) -> bool:
    return low > 1 / (1 + _OF_INTEREST) and high < 1 + _OF_INTEREST


def _where_in_table(effect: FactorEffect, everything: Sequence[FactorEffect]) -> str:
    """What the pairs have in common, as far as it is not the same for every effect of the table."""
    context = dict(effect.context)
    several = {name for name in context if len({other.context.get(name) for other in everything}) > 1}
    example = effect.pairs[0].base.case
    words = [str(context["workload"])] if "workload" in several else []
    if "mode" in context:
        words.append(task(example).lower())
    if "timing" in several and "timing" in context:
        words.append(str(context["timing"]))
    if "device" in context:
        words.append(place(str(context["device"])).removeprefix("the "))
    return " ".join(words)


_MOST_IN_FOREST = 24


def effect_charts(summary: RunSummary, effects: Sequence[FactorEffect] | None = None) -> tuple[Chart, ...]:
    """One forest per workload, mode, timing and device in which two effects or more are known."""
    groups: dict[str, list[FactorEffect]] = {}
    found = factor_effects(summary.cases) if effects is None else effects
    for effect in sorted(found, key=lambda effect: rank(effect.pairs[0].base.case)):
        groups.setdefault(where(effect, summary), []).append(effect)
    shown = [(subject, members) for subject, members in groups.items() if len(members) > 1]
    return tuple(_forest(subject, members) for subject, members in shown[:MOST_CHARTED])


def where(effect: FactorEffect, summary: RunSummary) -> str:
    """`Training on the GPU`: what the pairs of an effect have in common."""
    case = effect.pairs[0].base.case
    several = len({entry.case.workload for entry in summary.cases}) > 1
    said = task(case) + (" latency" if case.timing == "latency" else "")
    said += "" if effect.factor == "device" else f" on {place(case.device)}"
    return f"{said} ({case.workload})" if several else said


def label(effect: FactorEffect) -> str:
    """`precision fp32 → tf32`."""
    return f"{title(effect.factor)} {word(effect.factor, effect.base)} → {word(effect.factor, effect.value)}"


def _forest(subject: str, effects: Sequence[FactorEffect]) -> Chart:
    shown = sorted(effects, key=lambda effect: -effect.ratio.value)[:_MOST_IN_FOREST]
    finding = _finding(shown)
    rows: list[tuple[Datum, ...]] = [
        (label(effect), effect.ratio.value, effect.ratio.low, effect.ratio.high, effect.num_pairs, _reading(effect))
        for effect in shown
    ]
    key = "".join(char if char.isalnum() else "-" for char in subject.lower()).strip("-")
    return Chart(
        key=f"effects-{'-'.join(filter(None, key.split('-')))}",
        form="forest",
        title=f"{subject}: {finding}",
        reading=(
            "Each row is one setting with all others equal: the geometric mean of the speed ratio over all such pairs, with "
            "its 95 % interval. Right of 1 is faster."
        ),
        alt=f"Forest plot of the effect of each setting on speed. {subject}: {finding}.",
        columns=("setting", "speed ratio", "low", "high", "pairs", "reading"),
        rows=tuple(rows),
        options={"x_title": "times as fast"},
    )


def _reading(effect: FactorEffect) -> str:
    low, high = effect.ratio.low, effect.ratio.high
    if low is None or high is None:
        return "no interval"
    return "faster" if low > 1 else "slower" if high < 1 else "unclear"


def _finding(effects: Sequence[FactorEffect]) -> str:
    """The setting that buys most, and the one that costs most, of those whose interval leaves 1 out."""
    sure = [effect for effect in effects if _reading(effect) == "faster"]
    bad = [effect for effect in effects if _reading(effect) == "slower"]
    said = []
    if sure:
        first = sure[0]
        said.append(f"{label(first)} buys most, {times(first.ratio.value)}")
    if bad:
        said.append(f"{label(bad[-1])} costs most, {times(bad[-1].ratio.value)}")
    if not said:
        most = effects[0]
        return f"no setting has a clear effect; the largest is {label(most)}, {ratio_text(most.ratio)}"
    return "; ".join(said)


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
    return _heat(contest, across, down, fields, best) if len(fields) >= _LEAST_FIELDS else None


def _heat(contest: Contest, across: str, down: str, fields: Fields, best: CaseSummary) -> Chart:
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
        return sorted(values, key=LEGEND_ORDER.index)
    return sorted(values, key=lambda value: (value is not None, value if value is not None else 0))


def section(view: View) -> Section | None:
    table = effects_table(view.summary, view.effects)
    charts = (*effect_charts(view.summary, view.effects), *view.chart_each(heat_chart)) if view.charts else ()
    heading = "What each setting does, all others equal"
    return Section("effects", heading, short="Settings", tables=(table,) if table else (), charts=charts)
