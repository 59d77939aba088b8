"""The effect of each setting, all others equal, and what to switch on."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from gpubench.analysis.insight.decision import Advice, Decision, rank
from gpubench.analysis.insight.factor_effects import FactorEffect
from gpubench.analysis.insight.paired_ratios import SpeedVerdict
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import ContestLevels, paired_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.findings import FINDINGS
from gpubench.core.metrics import SESOI
from gpubench.core.records import Estimate
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import ratio_cell, ratio_text, times_text
from gpubench.report.model.report_model import (
    EMPTY,
    Cell,
    Chart,
    Column,
    Datum,
    Line,
    Section,
    Table,
    Tone,
    line,
    lines,
)
from gpubench.report.model.words import count, joined, place, sentence, task, title, word
from gpubench.report.view.contests import MOST_CHARTED, subject, times
from gpubench.report.view.heat_chart import heat_chart
from gpubench.report.view.run_view import View

_MOST_IN_FOREST = 24

_READ: dict[SpeedVerdict, tuple[str, Tone]] = {
    "faster": ("+", "good"),
    "slower": ("-", "bad"),
    "same": ("=", "plain"),
    "unclear": ("?", "muted"),
    "weakened": ("!", "warning"),
}


def section(view: View) -> Section | None:
    table = effects_table(view.decision)
    charts = (*effect_charts(view.decision), *view.chart_each(heat_chart)) if view.charts else ()
    heading = "What each setting does, all others equal"
    return Section("effects", heading, short="Settings", tables=(table,) if table else (), charts=charts)


def effects_table(decision: Decision) -> Table | None:
    """One row per setting, change and place; None where no two cases differ in one setting alone."""
    found = decision.effects
    names = {name for effect in found for name in effect.context}
    several = {name for name in names if len({each.context.get(name) for each in found}) > 1}

    def reading(effect: FactorEffect) -> str:
        some = effect.num_suspect and effect.verdict != "weakened"
        return effect.verdict + (f", {effect.num_suspect} weakened left out" if some else "")

    def common(effect: FactorEffect) -> str:
        """What the pairs have in common, as far as it varies in the table."""
        context = effect.context
        words = {
            "workload": str(context.get("workload")) if "workload" in several else "",
            "mode": task(effect.case).lower(),
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
        Column("mark", "", "left", cell=lambda each: _READ[each.verdict][0]),
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
        f"+ faster, - slower; = the same: the whole interval is within {format_percent(SESOI)} of 1; ? unclear: "
        "none of these is certain.",
        "A verdict is wrong in at most 1 of 100 contests, so an interval that leaves 1 out may not be enough for it."
        if any(each.verdict == "unclear" and _leaves_one_out(each.ratio) for each in found)
        else "",
        "! weakened: a finding weakens every pair, so nothing is certain."
        if any(each.verdict == "weakened" for each in found)
        else "",
    )
    notes += contest_lines(decision.summary)
    table = Table.of("effects", columns, found, notes=notes, tone=lambda each: _READ[each.verdict][1])
    return table.without_empty_columns() if found else None


def _leaves_one_out(ratio: Estimate) -> bool:
    return ratio.low is not None and ratio.high is not None and not ratio.low <= 1 <= ratio.high


def _change(effect: FactorEffect, arrow: str) -> str:
    return f"{word(effect.factor, effect.base)} {arrow} {word(effect.factor, effect.value)}"


def effect_charts(decision: Decision) -> tuple[Chart, ...]:
    """One forest plot per workload, mode, timing and device with at least two known effects."""
    groups: dict[str, list[FactorEffect]] = {}
    for effect in sorted(decision.effects, key=lambda effect: rank(effect.case)):
        groups.setdefault(where(effect, decision), []).append(effect)
    shown = [(subject, members) for subject, members in groups.items() if len(members) > 1]
    return tuple(_forest(subject, members) for subject, members in shown[:MOST_CHARTED])


def where(effect: FactorEffect, decision: Decision) -> str:
    """`Training on the GPU`: what the pairs of an effect have in common."""
    several = len({ranking.case.workload for ranking in decision.rankings}) > 1
    return subject(effect.case, several, device=effect.factor != "device")


def label(effect: FactorEffect) -> str:
    """`precision fp32 → tf32`."""
    return f"{title(effect.factor)} {_change(effect, '→')}"


def _forest(subject: str, effects: Sequence[FactorEffect]) -> Chart:
    shown = sorted(effects, key=lambda effect: -effect.ratio.value)[:_MOST_IN_FOREST]
    # The settings that gain and cost most, among those whose interval excludes 1.
    sure = [effect for effect in shown if effect.verdict == "faster"]
    bad = [effect for effect in shown if effect.verdict == "slower"]
    said = [f"{label(each)} buys most, {times(each.ratio.value)}" for each in sure[:1]]
    said += [f"{label(each)} costs most, {times(each.ratio.value)}" for each in bad[-1:]]
    largest = max(shown, key=lambda effect: abs(math.log(effect.ratio.value)))
    none = f"no setting has a clear effect; the largest is {label(largest)}, {ratio_text(largest.ratio)}"
    finding = "; ".join(said) or none
    rows: list[tuple[Datum, ...]] = []
    for effect in shown:
        found = effect.ratio
        rows.append((label(effect), found.value, found.low, found.high, effect.num_pairs, effect.verdict))
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


_MOST_PLACES = 6
_NO_MEMORY = 0.01
_MOST_NAMED = 2


def switches_table(decision: Decision) -> Table | None:
    """One row per setting, one column per place; None where no two cases differ in one setting alone, or nothing about
    any is certain: then one sentence says so.
    """
    if not decision.advice or not decision.certain:
        return None
    at = {(advice.factor, where(advice.effect, decision)): advice for advice in decision.advice}
    places = list(dict.fromkeys(place for _, place in at))[:_MOST_PLACES]
    factors = list(dict.fromkeys(effect.factor for effect in decision.effects if effect.factor != "device"))

    def paying(place: str) -> Callable[[str], Cell]:
        return lambda factor: _advice_cell(at.get((factor, place)))

    columns = (
        Column("setting", "setting", "left", cell=title),
        *(
            Column(f"place{number}", place, "left", priority=number, cell=paying(place))
            for number, place in enumerate(places)
        ),
    )
    notes = lines(
        "How many times as fast with all other settings equal, geometric mean over pairs with its 95 % interval: the "
        "value that pays most, `keep` where every other is slower or the same, `unclear` where nothing is certain."
    )
    return Table.of("switches", columns, factors, notes=notes)


def _advice_cell(advice: Advice | None) -> Cell:
    if advice is None:
        return EMPTY
    effect = advice.effect
    value, base, said = word(effect.factor, effect.value), word(effect.factor, effect.base), times_text(effect.ratio)
    if advice.action == "switch":
        held = 1.0 if effect.memory_ratio is None else effect.memory_ratio.value
        memory = f", memory {held:.2f}x" if abs(held - 1) >= _NO_MEMORY else ""
        return Cell(f"{value}: {said}{memory}", value=effect.ratio.value)
    if advice.action == "depends":
        return Cell(f"depends: {value} {said} on average, not in the fastest case", value=effect.ratio.value)
    if advice.action == "keep":
        return Cell(f"keep {base}: {value} {said}", value=effect.ratio.value)
    why = "not verified" if advice.unverified else effect.verdict
    return Cell(f"unclear: {value} {said}" + ("" if why == "unclear" else f", {why}"), value=effect.ratio.value)


def advice_lines(decision: Decision) -> tuple[Line, ...]:
    """The same in a line per place: `Training on the CPU: batch 256 1.26x ±0.02; keep precision fp32: amp-bf16 0.27x`.

    One line where nothing at all is certain.
    """
    none = no_advice(decision)
    if none:
        return (line(none),)
    at: dict[str, list[str]] = {where(advice.effect, decision): [] for advice in decision.advice}
    order = {"switch": 0, "depends": 1, "keep": 2, "undecided": 3}
    for advice in sorted(decision.advice, key=lambda each: order[each.action]):
        at[where(advice.effect, decision)] += [_advice_text(advice)] if advice.action != "undecided" else []
    unsure: dict[str, dict[str, list[str]]] = {}
    for advice in (each for each in decision.advice if each.action == "undecided"):
        why = "not verified" if advice.unverified else advice.effect.verdict
        settings = unsure.setdefault(where(advice.effect, decision), {}).setdefault(why, [])
        settings.append(title(advice.factor))
    for subject_of, reasons in unsure.items():
        at[subject_of] += [f"{why}: {joined(settings)}" for why, settings in reasons.items()]
    return tuple(line(f"{subject_of}: {'; '.join(at[subject_of])}.") for subject_of in at)


def _advice_text(advice: Advice) -> str:
    effect = advice.effect
    setting, value, ratio = title(effect.factor), word(effect.factor, effect.value), times_text(effect.ratio)
    if advice.action == "switch":
        return f"{setting} {value} {ratio}"
    if advice.action == "depends":
        return f"{setting} depends: {value} {ratio} on average, not in the fastest case"
    return f"keep {setting} {word(effect.factor, effect.base)}: {value} {ratio}"


def no_advice(decision: Decision) -> str:
    """Why nothing about speed is certain; empty if something is, or if nothing could be compared."""
    if decision.certain or not decision.effects:
        return ""
    if all(effect.verdict == "weakened" for effect in decision.effects):
        cases = [entry for effect in decision.effects for pair in effect.pairs for entry in (pair.base, pair.other)]
        codes = Counter(found.code for entry in cases for found in entry.findings if found.effect != "none")
        named = [f"{FINDINGS[code].name} ({code})" for code, _ in codes.most_common(_MOST_NAMED) if code in FINDINGS]
        return f"no advice: every comparison is weakened, mostly by {joined(named)}."
    error = decision.own_error
    how = "" if error is None else f" (a case differed from itself by {format_percent(error)}, A/A)"
    return f"no advice: this machine was too noisy{how}; quiet it or give it more time."


def switches_section(view: View) -> Section | None:
    table, none = switches_table(view.decision), no_advice(view.decision)
    if table is None and not none:
        return None
    return Section(
        "switches",
        "What to switch on",
        short="Switch on",
        lines=lines(sentence(none)),
        tables=(table,) if table else (),
    )


def contest_lines(summary: RunSummary) -> tuple[Line, ...]:
    """One line per contest: `Training on the CPU: 3 cases took turns in 4 processes; a case against itself +0.2%`."""
    by_index = {entry.planned.index: entry for entry in summary.cases}
    return tuple(_contest_line(each, by_index[each.first]) for each in summary.contests if each.first in by_index)


def _contest_line(contest: ContestLevels, first: CaseSummary) -> Line:
    held = f"{count(len(contest.cases), 'case')} took turns in {count(contest.num_processes, 'process', 'processes')}"
    used = count(contest.threads or 0, "CPU thread")
    threads = "" if contest.threads is None else f", with {used} as others used the rest"
    return line(f"{task(first.case)} on {place(first.case.device)}: {held}{threads}{_itself(contest)}.")


def _itself(contest: ContestLevels) -> str:
    if not contest.twins:
        return "; there was no room for a case against itself"
    ratio = paired_estimate(contest.twins)
    said = f"; one case against itself (A/A): {format_percent(ratio.value - 1, signed=True)}"
    if ratio.low is None or ratio.high is None:
        return said
    ends = " to ".join(format_percent(end - 1, signed=True) for end in (ratio.low, ratio.high))
    return f"{said} ({ends})"
