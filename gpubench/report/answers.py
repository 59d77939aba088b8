"""The winner of each contest as a few figures that can be read at a glance."""

from collections.abc import Sequence

from gpubench.analysis.insight.best_settings import Best, best_overall, best_settings, gains
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.units import format_bytes
from gpubench.report.headline import accuracy_of, energy_text, fp32_ratio
from gpubench.report.model.figure_cells import display_unit, metric_cell, ratio_text
from gpubench.report.model.report_model import Answer
from gpubench.report.view.case_tables import memory_metric
from gpubench.report.view.contests import Contest, batch_of, contests
from gpubench.report.view.phrases import name_of, why_not


def answers(summary: RunSummary) -> tuple[Answer, ...]:
    """One per contest with a figure; of latency, for its smallest batch."""
    bests = best_settings(summary.cases)
    against = {id(gain.best): ratio_text(gain.ratio) for gain in gains(bests, summary.info.suite.get("baseline") or {})}
    found = []
    for contest in contests(summary.cases):
        overall = best_overall(best_settings(contest.cases))
        if overall:
            best = min(overall, key=lambda each: batch_of(each.summary))
            mine = next((other for other in bests if other.summary is best.summary), best)
            found.append(_answer(contest, mine, bests, against.get(id(mine), ""), summary))
    return tuple(found)


def _answer(contest: Contest, best: Best, bests: Sequence[Best], against: str, summary: RunSummary) -> Answer:
    entry = best.summary
    spec = METRICS[contest.metric]
    fp32 = fp32_ratio(best, bests)
    trained = accuracy_of(entry, summary.quality)
    held = entry.metrics.get(memory_metric(entry))
    figures = (
        (display_unit(spec), metric_cell(contest.metric, entry.metrics, spread=True).full),
        ("times fp32", "" if fp32 is None else ratio_text(fp32)),
        ("times the baseline", against),
        ("energy per sample", energy_text(entry)),
        ("peak memory", "" if held is None else format_bytes(held.value)),
        ("test accuracy", "" if trained is None else f"{trained}%"),
    )
    return Answer(
        subject=contest.subject,
        precision=entry.case.precision,
        setting=name_of(entry, contest).removeprefix(entry.case.precision).strip(),
        figures=tuple((name, text) for name, text in figures if text),
        case_index=entry.planned.index,
        why_not="" if best.won else why_not(entry),
    )
