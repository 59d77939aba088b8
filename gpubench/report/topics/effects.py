"""What each setting does, all others equal, and from that what to switch on."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.insight.best_settings import best_overall, best_settings
from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.insight.paired_ratios import PairedVerdict
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.findings import Validity
from gpubench.core.metrics import SESOI
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import ratio_cell, ratio_text
from gpubench.report.model.report_model import EMPTY, Cell, Chart, Column, Datum, Section, Table, Tone, lines
from gpubench.report.model.words import place, task, title, word
from gpubench.report.view.contest_lines import contest_lines
from gpubench.report.view.contests import MOST_CHARTED, Contest, rank, times
from gpubench.report.view.run_view import View
from gpubench.suite.cases.labels import short_word, varying
from gpubench.suite.model.precisions import LEGEND_ORDER

_MOST_IN_FOREST = 24
_MOST_VALUES = 12
_LEAST_FIELDS = 4

_READ: dict[PairedVerdict, tuple[str, str, Tone]] = {
    "faster": ("+", "faster", "good"),
    "slower": ("-", "slower", "bad"),
    "same": ("=", "same", "plain"),
    "unclear": ("?", "unclear", "muted"),
}

Fields = dict[tuple[Any, Any], CaseSummary]


def section(view: View) -> Section | None:
    table = effects_table(view.summary, view.effects)
    charts = (*effect_charts(view.summary, view.effects), *view.chart_each(heat_chart)) if view.charts else ()
    heading = "What each setting does, all others equal"
    return Section("effects", heading, short="Settings", tables=(table,) if table else (), charts=charts)


def effects_table(summary: RunSummary, effects: Sequence[FactorEffect] | None = None) -> Table | None:
    """One row per setting, change and place; None where no two cases differ in one setting alone."""
    found = factor_effects(summary.cases) if effects is None else effects
    names = {name for effect in found for name in effect.context}
    several = {name for name in names if len({each.context.get(name) for each in found}) > 1}

    def reading(effect: FactorEffect) -> str:
        left_out = "" if effect.weakened or not effect.num_suspect else f", {effect.num_suspect} weakened left out"
        return _verdict(effect)[1] + left_out

    def common(effect: FactorEffect) -> str:
        """What the pairs have in common that differs between the effects of the table."""
        context = effect.context
        words = {
            "workload": str(context.get("workload")) if "workload" in several else "",
            "mode": task(effect.pairs[0].base.case).lower(),
            "timing": str(context.get("timing")) if "timing" in several else "",
            "device": place(str(context.get("device"))).removeprefix("the "),
        }
        return " ".join(said for name, said in words.items() if name in context and said)

    def span(effect: FactorEffect) -> str:
        ratios = [pair.ratio for pair in effect.pairs]
        return f"{min(ratios):.2f} to {max(ratios):.2f}" if effect.num_pairs > 1 else ""

    def memory(effect: FactorEffect) -> Cell | None:
        ratio = effect.memory_ratio
        return None if ratio is None else Cell(f"{ratio.value:.2f}x", value=ratio.value)

    columns = (
        Column("mark", "", "left", cell=lambda each: _verdict(each)[0]),
        Column("factor", "setting", "left", cell=lambda each: title(each.factor)),
        Column("change", "from -> to", "left", cell=lambda each: _change(each, "->")),
        Column("context", "where", "left", cell=common),
        Column("speed", "speed", cell=lambda each: ratio_cell(each.ratio)),
        Column("pairs", "pairs", priority=3, cell=lambda each: each.num_pairs),
        Column("range", "least to most", priority=4, cell=span),
        Column("memory", "memory", priority=2, cell=memory),
        Column("verdict", "reading", "left", priority=5, cell=reading),
    )
    notes = lines(
        "speed: geometric mean of the ratios over pairs of cases that are otherwise equal, with its 95 % interval; "
        "above 1 is faster.",
        f"+ faster, - slower; = the same: the whole interval is within {format_percent(SESOI)} of 1; ? unclear: the "
        "interval holds 1, or there is only one launch per side.",
        "! weakened: a finding weakens every pair, so nothing is certain."
        if any(each.weakened for each in found)
        else "",
    )
    notes += contest_lines(summary)
    table = Table.of("effects", columns, found, notes=notes, tone=lambda each: _verdict(each)[2])
    return table.without_empty_columns() if found else None


def _verdict(effect: FactorEffect) -> tuple[str, str, Tone]:
    low, high = effect.ratio.low, effect.ratio.high
    if effect.weakened:
        return "!", "weakened", "warning"
    if effect.verdict is not None:
        return _READ[effect.verdict]
    if low is None or high is None:
        return "?", "no interval", "muted"
    if low > 1:
        return "+", "faster", "good"
    if high < 1:
        return "-", "slower", "bad"
    same = low > 1 / (1 + SESOI) and high < 1 + SESOI
    return ("=", "same", "plain") if same else ("?", "unclear", "muted")


def _change(effect: FactorEffect, arrow: str) -> str:
    return f"{word(effect.factor, effect.base)} {arrow} {word(effect.factor, effect.value)}"


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
    return f"{title(effect.factor)} {_change(effect, '→')}"


def _forest(subject: str, effects: Sequence[FactorEffect]) -> Chart:
    shown = sorted(effects, key=lambda effect: -effect.ratio.value)[:_MOST_IN_FOREST]
    # The setting that buys most, and the one that costs most, of those whose interval leaves 1 out.
    sure = [effect for effect in shown if _verdict(effect)[1] == "faster"]
    bad = [effect for effect in shown if _verdict(effect)[1] == "slower"]
    said = [f"{label(each)} buys most, {times(each.ratio.value)}" for each in sure[:1]]
    said += [f"{label(each)} costs most, {times(each.ratio.value)}" for each in bad[-1:]]
    largest = max(shown, key=lambda effect: abs(math.log(effect.ratio.value)))
    none = f"no setting has a clear effect; the largest is {label(largest)}, {ratio_text(largest.ratio)}"
    finding = "; ".join(said) or none
    rows: list[tuple[Datum, ...]] = []
    for effect in shown:
        found, reading = effect.ratio, _verdict(effect)[1]
        reading = "unclear" if reading in ("same", "weakened") else reading
        rows.append((label(effect), found.value, found.low, found.high, effect.num_pairs, reading))
    key = "".join(char if char.isalnum() else "-" for char in subject.lower()).strip("-")
    return Chart(
        key=f"effects-{'-'.join(filter(None, key.split('-')))}",
        form="forest",
        title=f"{subject}: {finding}",
        reading=(
            "Each row is one setting with all others equal: the geometric mean of the speed ratio over all such pairs, "
            "with its 95 % interval. Right of 1 is faster."
        ),
        alt=f"Forest plot of the effect of each setting on speed. {subject}: {finding}.",
        columns=("setting", "speed ratio", "low", "high", "pairs", "reading"),
        rows=tuple(rows),
        options={"x_title": "times as fast"},
    )


def heat_chart(contest: Contest) -> Chart | None:
    """The map over the two settings that matter most; None if fewer than two vary around the fastest case."""
    usable = contest.rankable
    if not usable:
        return None
    best = max(best_overall(best_settings(usable)), key=lambda one: (one.won, one.summary.rank_speed or 0.0)).summary
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
    ratio = (fields[fastest].rank_speed or 1.0) / (fields[slowest].rank_speed or 1.0)
    pairs = [f"{short_word(across, x)} {word(down, y)}" for x, y in (fastest, slowest)]
    finding = f"{pairs[0]} is {times(ratio)} as fast as {pairs[1]}"
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
    def rest(entry: CaseSummary) -> dict[str, Any]:
        return {name: value for name, value in entry.case.settings.items() if name not in names}

    wanted = rest(best)
    return [entry for entry in cases if rest(entry) == wanted]


_MOST_PLACES = 6
_NO_MEMORY = 0.01


def switches_table(summary: RunSummary, effects: Sequence[FactorEffect] | None = None) -> Table | None:
    """One row per setting, one column per place; None where no two cases differ in one setting alone.

    A value of which a case of every pair failed its check is no advice, and is not shown.
    """
    known = factor_effects(summary.cases) if effects is None else effects
    effects = [effect for effect in known if effect.factor != "device"]
    ordered = sorted(effects, key=lambda effect: rank(effect.pairs[0].base.case))
    places = list(dict.fromkeys(where(effect, summary) for effect in ordered))[:_MOST_PLACES]
    factors = list(dict.fromkeys(effect.factor for effect in effects))
    if not effects:
        return None
    at: dict[tuple[str, str], list[FactorEffect]] = {}
    for effect in effects:
        at.setdefault((effect.factor, where(effect, summary)), []).append(effect)

    def paying(place: str) -> Callable[[str], Cell]:
        return lambda factor: _cell(at.get((factor, place), ()))

    columns = (
        Column("setting", "setting", "left", cell=title),
        *(
            Column(f"place{number}", place, "left", priority=number, cell=paying(place))
            for number, place in enumerate(places)
        ),
    )
    notes = lines(
        "How many times as fast with all other settings equal, geometric mean over pairs with its 95 % interval: the "
        "value that pays most, `keep` where none does for certain. Weakened results do not count here."
    )
    return Table.of("switches", columns, factors, notes=notes)


def _cell(effects: Sequence[FactorEffect]) -> Cell:
    if not effects:
        return EMPTY
    sound = [effect for effect in effects if not effect.weakened]
    paying = [effect for effect in sound if effect.ratio.low is not None and effect.ratio.low > 1]
    if paying:
        best = max(paying, key=lambda effect: effect.ratio.value)
        held = 1.0 if best.memory_ratio is None else best.memory_ratio.value
        memory = f", memory {held:.2f}x" if abs(held - 1) >= _NO_MEMORY else ""
        return Cell(f"{word(best.factor, best.value)}: {_times_text(best)}{memory}", value=best.ratio.value)
    base = word(effects[0].factor, effects[0].base)
    if not sound:
        weakened = any(pair.base.validity is Validity.SUSPECT for effect in effects for pair in effect.pairs)
        return Cell("undecided: all is weakened" if weakened else f"keep {base}: the rest is weakened")
    best = max(sound, key=lambda effect: effect.ratio.value)
    sure = "" if best.ratio.low is None or best.ratio.high is None or best.ratio.high < 1 else ", unclear"
    return Cell(f"keep {base}: {word(best.factor, best.value)} {_times_text(best)}{sure}", value=best.ratio.value)


def _times_text(effect: FactorEffect) -> str:
    number, _, rest = ratio_text(effect.ratio).partition(" ")
    return f"{number}x {rest}".rstrip()


def switches_section(view: View) -> Section | None:
    table = switches_table(view.summary, view.effects)
    return Section("switches", "What to switch on", short="Switch on", tables=(table,)) if table else None
