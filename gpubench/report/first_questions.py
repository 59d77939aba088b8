"""The readers' first questions about a run, a sentence each: what is fastest, what to switch on, how sure it is."""

from collections.abc import Iterable
from itertools import chain

from gpubench.analysis.insight.decision import Advice, Decision
from gpubench.core.records import Status
from gpubench.core.units import format_percent
from gpubench.report.headline import energy_text, sentence
from gpubench.report.model.figure_cells import how_well_known
from gpubench.report.model.report_model import Fact, Line, code, line
from gpubench.report.model.words import count, joined, title, word
from gpubench.report.model.words import sentence as capitalised
from gpubench.report.topics.effects import no_advice
from gpubench.report.view.contests import Contest, contests, times
from gpubench.report.view.run_view import View

_ENERGY = "energy_per_sample_j"
_MOST_CONTESTS = 2


def first_questions(view: View) -> tuple[Fact, ...]:
    """Answers for buyers, tuners and those who watch for regressions, about the first contest with a figure and one
    more on its device. Empty without a figure.
    """
    found = [contest for contest in contests(view.decision) if contest.has_best]
    shown = [contest for contest in found if contest.first.device == found[0].first.device][:_MOST_CONTESTS]
    if not shown:
        return ()
    none = no_advice(view.decision)
    switched = [line(capitalised(none))] if none else [_to_switch_on(contest, view.decision) for contest in shown]
    return (
        Fact("What is fastest", _as_one(map(_fastest, shown), map(_energy_unknown, shown))),
        Fact("What to switch on", _as_one(switched)),
        Fact("How sure it is", _how_sure(view)),
    )


def _as_one(*sentences: Iterable[Line]) -> Line:
    """The sentences one after the other, each once."""
    first, *more = dict.fromkeys(filter(None, chain(*sentences)))
    return (*first, *(span for each in more for span in (*line(" "), *each)))


def _fastest(contest: Contest) -> Line:
    best = contest.ranking.first
    assert best is not None, "a contest with a figure"
    energy = energy_text(best.summary)
    return (*sentence(contest), *(line(f" It takes {energy} per sample.") if energy else ()))


def _energy_unknown(contest: Contest) -> Line:
    """Why the energy of the best case is unknown; empty if it is known."""
    best = contest.ranking.first
    if best is None or energy_text(best.summary):
        return ()
    why = best.summary.metrics.why_absent(_ENERGY)
    return line(f"Energy is unknown{f' ({why})' if why else ''}.")


def _to_switch_on(contest: Contest, decision: Decision) -> Line:
    first = contest.first
    mine = [
        advice
        for advice in decision.advice
        if all(
            getattr(advice.effect.case, name) == getattr(first, name)
            for name in ("workload", "mode", "device", "timing")
        )
    ]
    by_action = {
        action: [each for each in mine if each.action == action]
        for action in ("switch", "keep", "depends", "undecided")
    }
    switch = sorted(by_action["switch"], key=lambda each: -each.effect.ratio.value)
    unsure = [title(each.factor) for each in (*by_action["depends"], *by_action["undecided"])]
    parts = [
        joined([_switched(each) for each in switch]),
        f"keep {joined([_kept(each) for each in by_action['keep']])}" if by_action["keep"] else "",
        f"{joined(unsure)} {'is' if len(unsure) == 1 else 'are'} not decided" if unsure else "",
    ]
    said = "; ".join(part for part in parts if part)
    if not said:
        return line("No two cases differ in one setting alone: nothing to advise.")
    return line(f"For {contest.subject[:1].lower()}{contest.subject[1:]}: {said}.")


def _switched(advice: Advice) -> str:
    return f"{title(advice.factor)} {word(advice.factor, advice.effect.value)} ({times(advice.effect.ratio.value)})"


def _kept(advice: Advice) -> str:
    return f"{title(advice.factor)} {word(advice.factor, advice.effect.base)}"


def _how_sure(view: View) -> Line:
    error, summary = view.decision.own_error, view.summary
    widths = [
        found.half_width / found.value
        for entry in summary.cases
        if entry.status is Status.OK
        and (found := entry.metrics.get(entry.speed_metric))
        and found.half_width is not None
    ]
    known = how_well_known("figures", widths)
    if error is not None:
        itself = f"a case differed from itself by up to {format_percent(error)} (A/A)"
    elif widths:
        itself = "no case was measured against itself (A/A)"
    else:
        known, itself = "", f"{count(summary.info.repeats, 'launch', 'launches')} per case: no figure has an interval"
    said = "; ".join(part for part in (known, itself) if part)
    checked = code(f"gpubench check {view.name or summary.info.run}")
    return line(f"{capitalised(said)}. ", checked, " says whether it got slower than its baseline.")
