"""What each setting does, as a forest of ratios; and where two settings matter, their heat map."""

from collections.abc import Sequence

from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.model.figure_cells import ratio_text
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.setting_words import title, word
from gpubench.report.model.words import place, task
from gpubench.report.topics.charts.phrases import times
from gpubench.report.topics.contests import MOST_CHARTED, rank

_MOST_ROWS = 24


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
    shown = sorted(effects, key=lambda effect: -effect.ratio.value)[:_MOST_ROWS]
    finding = _finding(shown)
    rows: list[tuple[Datum, ...]] = [
        (label(effect), effect.ratio.value, effect.ratio.low, effect.ratio.high, effect.num_pairs, _verdict(effect))
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


def _verdict(effect: FactorEffect) -> str:
    low, high = effect.ratio.low, effect.ratio.high
    if low is None or high is None:
        return "no interval"
    return "faster" if low > 1 else "slower" if high < 1 else "unclear"


def _finding(effects: Sequence[FactorEffect]) -> str:
    """The setting that buys most, and the one that costs most, of those whose interval leaves 1 out."""
    sure = [effect for effect in effects if _verdict(effect) == "faster"]
    bad = [effect for effect in effects if _verdict(effect) == "slower"]
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
