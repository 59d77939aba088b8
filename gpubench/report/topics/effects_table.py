"""What each setting does, all others equal."""

from collections.abc import Sequence

from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import ratio_cell
from gpubench.report.model.report_model import EMPTY, Cell, Column, Row, Table, Tone, line
from gpubench.report.model.setting_words import title, word
from gpubench.report.model.words import place, task

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
        Cell(_where(effect, everything)),
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


def _where(effect: FactorEffect, everything: Sequence[FactorEffect]) -> str:
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
