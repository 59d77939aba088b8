"""What to switch on: per setting the value that pays most, in each place where it was tried."""

from collections.abc import Callable, Sequence

from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.findings import Validity
from gpubench.report.model.figure_cells import ratio_text
from gpubench.report.model.report_model import EMPTY, Cell, Column, Section, Table, line
from gpubench.report.model.setting_words import title, word
from gpubench.report.topics.effects import where
from gpubench.report.view.contests import rank
from gpubench.report.view.run_view import View

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
    notes = (
        line(
            "How many times as fast with all other settings equal, geometric mean over pairs with its 95 % interval: "
            "the value that pays most, `keep` where none does for certain. Figures that are weakened do not advise."
        ),
    )
    return Table.of("switches", columns, factors, notes=notes)


def _cell(effects: Sequence[FactorEffect]) -> Cell:
    if not effects:
        return EMPTY
    sound = [
        effect
        for effect in effects
        if any(pair.base.validity is Validity.VALID is pair.other.validity for pair in effect.pairs)
    ]
    paying = [effect for effect in sound if effect.ratio.low is not None and effect.ratio.low > 1]
    if paying:
        best = max(paying, key=lambda effect: effect.ratio.value)
        return Cell(f"{word(best.factor, best.value)}: {_times(best)}{_memory(best)}", value=best.ratio.value)
    base = word(effects[0].factor, effects[0].base)
    if not sound:
        return Cell(f"keep {base}: the rest is weakened")
    best = max(sound, key=lambda effect: effect.ratio.value)
    sure = "" if best.ratio.low is None or best.ratio.high is None or best.ratio.high < 1 else ", unclear"
    return Cell(f"keep {base}: {word(best.factor, best.value)} {_times(best)}{sure}", value=best.ratio.value)


def _times(effect: FactorEffect) -> str:
    number, _, rest = ratio_text(effect.ratio).partition(" ")
    return f"{number}x {rest}".rstrip()


def _memory(effect: FactorEffect) -> str:
    """What it does to memory, where that is more than a hundredth."""
    ratio = effect.memory_ratio
    return "" if ratio is None or abs(ratio.value - 1) < _NO_MEMORY else f", memory {ratio.value:.2f}x"


def section(view: View) -> Section | None:
    table = switches_table(view.summary, view.effects)
    return Section("switches", "What to switch on", short="Switch on", tables=(table,)) if table else None
