"""The best setting of each precision: one row per contest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpubench.analysis.insight.best_settings import Best
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.accuracy_verdict import QualitySummary
from gpubench.report.model.figure_cells import display_unit, metric_cell, ratio_cell
from gpubench.report.model.report_model import Cell, Column, Line, Section, Table, line
from gpubench.report.model.words import joined, pattern
from gpubench.report.view.case_tables import (
    MEMORY,
    absent_notes,
    memory_metric,
    metric_column,
    metrics_present,
    price_notes,
    setting_column,
)
from gpubench.report.view.contests import contests, why_not
from gpubench.report.view.run_view import View
from gpubench.report.view.scores import score_text, trained_at, unit_title
from gpubench.suite.cases.labels import short_word, varying
from gpubench.suite.select.patterns import matches

_IDENTITY = ("workload", "mode", "timing", "device", "precision")
_AFTER_SPEED = (
    ("step_time_s", 1),
    ("largest_batch", 2),
    (MEMORY, 3),
    ("mean_power_w", 6),
    ("energy_per_sample_j", 4),
    ("samples_per_money", 0),
    ("samples_per_j", 8),
    ("achieved_flops", 7),
    ("mfu", 5),
)
_AFTER_LATENCY = (("latency_p99_s", 1), ("latency_floor_s", 6), (MEMORY, 3), ("energy_per_sample_j", 4))


def section(view: View) -> Section:
    return Section("best", "Best settings", short="Best", tables=best_tables(view.decision))


def best_tables(decision: Decision) -> tuple[Table, ...]:
    """A table for throughput and one for latency, which are never ranked together; those with rows only."""
    bests = [best for best in decision.bests if not best.summary.case.is_collective]
    parts = {
        timing: [best for best in bests if best.summary.case.timing == timing] for timing in ("throughput", "latency")
    }
    return tuple(_table(timing, found, decision) for timing, found in parts.items() if found)


def _table(timing: str, shown: Sequence[Best], decision: Decision) -> Table:
    marks = {id(entry): "=" for ranking in decision.rankings for entry in ranking.leaders}
    marks |= {id(ranking.leaders[0]): "+" for ranking in decision.rankings if ranking.certain}
    quality = decision.summary.quality
    trained = {id(best.summary): trained_at(best.summary, quality) for best in shown}
    scores = {key: score for key, score in trained.items() if score is not None}

    def mark(best: Best) -> str:
        return marks.get(id(best.summary), "") if best.won else "!"

    columns = [Column("mark", "", "left", cell=mark), *_setting_columns(timing, shown, decision)]
    columns += _figure_columns(timing, shown, decision)
    if scores:
        columns.append(_score_column(scores))
    return Table.of(
        f"best-{timing}",
        columns,
        shown,
        notes=_notes(shown, {mark(best) for best in shown}, scores, decision),
        tone=lambda best: "good" if mark(best) == "+" else "plain" if best.won else "warning",
        case_index=lambda best: best.summary.planned.index,
    )


def _setting_columns(timing: str, shown: Sequence[Best], decision: Decision) -> list[Column]:
    """What the rows are of, and the best setting as the headline names it: by what tells the cases of the same mode and
    device apart.
    """
    told = varying(best.summary.case for best in shown)
    identity = [name for name in _IDENTITY if name == "precision" or name in told]
    identity += ["batch_size"] if timing == "latency" else []
    settings = {
        id(entry): " ".join(
            short_word(name, getattr(entry.case, name)) for name in contest.differing if name not in identity
        )
        for contest in contests(decision)
        for entry in contest.cases
    }
    columns = [setting_column(name, lambda best: best.summary) for name in identity]
    if any(settings[id(best.summary)] for best in shown):
        columns.append(Column("setting", "best setting", "left", cell=lambda best: settings[id(best.summary)]))
    return columns


def _figure_columns(timing: str, shown: Sequence[Best], decision: Decision) -> list[Column]:
    ratios = {id(gain.best): gain.found for gain in decision.gains}

    def against(best: Best) -> Cell | str:
        found = ratios.get(id(best))
        if found is None:
            return "baseline" if matches(best.summary.case.settings, _baseline(decision)) else ""
        cell = ratio_cell(found.ratio)
        return cell if found.certain or not best.won else cell._replace(spread=f"{cell.spread} {found.verdict}".strip())

    def metric(name: str, priority: int) -> Column:
        def cell(best: Best) -> Cell:
            return metric_cell(memory_metric(best.summary) if name == MEMORY else name, best.summary.metrics)

        column = metric_column(name, priority, cell)
        return replace(column, title="samples/s per W") if name == "samples_per_j" else column

    lead, after = ("latency_s", _AFTER_LATENCY) if timing == "latency" else ("throughput", _AFTER_SPEED)
    columns = [metric_column(lead, 0, lambda best: metric_cell(lead, best.summary.metrics, spread=True))]
    if ratios:
        columns.append(Column("against_baseline", "vs baseline", priority=2, cell=against))
    entries = [best.summary for best in shown]
    return columns + [metric(name, rank) for name, rank in after if metrics_present(entries, [name])]


def _notes(
    shown: Sequence[Best], marks: Collection[str], scores: Mapping[int, QualitySummary], decision: Decision
) -> tuple[Line, ...]:
    legend = "+ fastest of its mode and device; " if "+" in marks else ""
    legend += "= none is certainly faster; " if "=" in marks else ""
    versus = f"; vs baseline: best against the best of {pattern(_baseline(decision))}" if decision.gains else ""
    notes = [line(f"{legend}± is the half-width of the 95 % interval over launches{versus}.")]
    lost = [best.summary for best in shown if not best.won]
    notes += [line(f"! {entry.label} is not called best: {why_not(entry)}") for entry in lost]
    notes += price_notes(decision.summary)
    lower = sorted({each.spec.title for each in scores.values() if each.lower_is_better})
    notes += [line(f"{joined(lower)}: lower is better.")] if lower else []
    return (*notes, *absent_notes(decision.summary.cases, ("mean_power_w", "energy_per_sample_j")))


def _baseline(decision: Decision) -> Mapping[str, Any]:
    return decision.summary.info.suite.get("baseline") or {}


def _score_column(scores: Mapping[int, QualitySummary]) -> Column:
    """What training at the case's precision came to. Of several tasks each cell names its score."""
    specs = {each.spec.name: each.spec for each in scores.values()}
    spec = next(iter(specs.values()))

    def score(best: Best) -> Cell | None:
        trained = scores.get(id(best.summary))
        if trained is None:
            return None
        cell = metric_cell(trained.metric, trained.summary.metrics)
        return cell if len(specs) == 1 else cell._replace(text=f"{trained.spec.title} {score_text(trained)}")

    if len(specs) == 1:
        return Column(spec.name, unit_title(spec), priority=5, unit=display_unit(spec), cell=score)
    return Column("score", "score", "left", priority=2, cell=score)
