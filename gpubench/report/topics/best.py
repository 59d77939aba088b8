"""The best setting of each precision: one row per contest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.insight.best_settings import Best, best_overall, best_settings, gains
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Estimate
from gpubench.report.model.figure_cells import metric_cell, ratio_cell
from gpubench.report.model.report_model import EMPTY, Cell, Column, Line, Row, Section, Table, line
from gpubench.report.model.setting_words import is_number, title, varying
from gpubench.report.model.words import pattern
from gpubench.report.view.case_tables import (
    MEMORY,
    absent_notes,
    memory_metric,
    metric_column,
    metrics_present,
    setting_cell,
)
from gpubench.report.view.phrases import why_not
from gpubench.report.view.run_view import View
from gpubench.suite.cases.labels import short_word
from gpubench.suite.select.patterns import matches

_IDENTITY = ("workload", "mode", "timing", "device", "precision")
_AFTER_SPEED = (
    ("step_time_s", 1),
    ("largest_batch", 2),
    (MEMORY, 3),
    ("mean_power_w", 6),
    ("energy_per_sample_j", 4),
    ("achieved_flops", 7),
    ("mfu", 5),
)
_AFTER_LATENCY = (("latency_p99_s", 1), ("latency_floor_s", 6), (MEMORY, 3), ("energy_per_sample_j", 4))


def best_tables(summary: RunSummary) -> tuple[Table, ...]:
    """A table for throughput and one for latency, which are never ranked together; those with rows only."""
    bests = best_settings(summary.cases)
    parts = {
        timing: [best for best in bests if best.summary.case.timing == timing] for timing in ("throughput", "latency")
    }
    return tuple(_table(timing, found, bests, summary) for timing, found in parts.items() if found)


@dataclass(frozen=True)
class _Layout:
    """What the columns of one table are: `extra` metrics with their priorities, `rest` the settings said in words."""

    lead: str
    identity: tuple[str, ...]
    rest: tuple[str, ...]
    extra: tuple[tuple[str, int], ...]
    ratios: Mapping[int, Estimate]
    accuracy: Mapping[tuple[str, ...], Cell]
    overall: frozenset[int]
    baseline: Mapping[str, Any]


def _table(timing: str, shown: Sequence[Best], bests: Sequence[Best], summary: RunSummary) -> Table:
    layout = _layout(timing, shown, bests, summary)
    rows = tuple(_row(best, layout) for best in shown)
    return Table(f"best-{timing}", _columns(layout), rows, notes=_notes(shown, layout, summary))


def _layout(timing: str, shown: Sequence[Best], bests: Sequence[Best], summary: RunSummary) -> _Layout:
    latency = timing == "latency"
    entries = [best.summary for best in shown]
    baseline = summary.info.suite.get("baseline") or {}
    identity = _identity(entries, latency=latency)
    differ = varying(entry.case for entry in summary.cases)
    after = _AFTER_LATENCY if latency else _AFTER_SPEED
    return _Layout(
        lead="latency_s" if latency else "throughput",
        identity=identity,
        rest=tuple(name for name in differ if name not in _IDENTITY and name not in identity),
        extra=tuple((name, rank) for name, rank in after if metrics_present(entries, [name])),
        ratios={id(gain.best): gain.ratio for gain in gains(bests, baseline)},
        accuracy=_accuracies(summary),
        overall=frozenset(id(best) for best in best_overall(shown) if best.won),
        baseline=baseline,
    )


def _row(best: Best, layout: _Layout) -> Row:
    entry, fastest = best.summary, id(best) in layout.overall
    cells = [
        Cell("+" if fastest else "" if best.won else "!"),
        *(setting_cell(entry, name) for name in layout.identity),
    ]
    cells += [Cell(setting_text(entry, layout.rest))] if layout.rest else []
    cells.append(metric_cell(layout.lead, entry.metrics, spread=True))
    cells += [_against(best, layout)] if layout.ratios else []
    cells += [metric_cell(memory_metric(entry) if name == MEMORY else name, entry.metrics) for name, _ in layout.extra]
    cells += [layout.accuracy.get(_training(entry), EMPTY)] if layout.accuracy else []
    return Row(tuple(cells), "good" if fastest else "plain" if best.won else "warning", entry.planned.index)


def _identity(entries: Sequence[CaseSummary], *, latency: bool) -> tuple[str, ...]:
    """What tells the rows apart: device and precision always, the rest where it differs."""
    differ = varying(entry.case for entry in entries)
    kept = [name for name in _IDENTITY if name in ("device", "precision") or name in differ]
    return (*kept, "batch_size") if latency else tuple(kept)


def _columns(layout: _Layout) -> tuple[Column, ...]:
    columns = [Column("mark", "", "left")]
    columns += [Column(name, title(name), "right" if is_number(name) else "left") for name in layout.identity]
    columns += [Column("setting", "best setting", "left")] if layout.rest else []
    columns.append(metric_column(layout.lead, 0))
    columns += [Column("against_baseline", "vs baseline", priority=2)] if layout.ratios else []
    columns += [metric_column(name, rank) for name, rank in layout.extra]
    columns += [Column("accuracy", "accuracy %", priority=5, unit="%")] if layout.accuracy else []
    return tuple(columns)


def setting_text(entry: CaseSummary, names: Sequence[str]) -> str:
    """`b256 NHWC bench`: settings that differ over the suite, in as few words as tell them apart."""
    return " ".join(short_word(name, getattr(entry.case, name)) for name in names) or entry.label


def _against(best: Best, layout: _Layout) -> Cell:
    ratio = layout.ratios.get(id(best))
    if ratio is not None:
        return ratio_cell(ratio)
    return Cell("baseline") if matches(best.summary.case.settings, layout.baseline) else EMPTY


def _accuracies(summary: RunSummary) -> dict[tuple[str, ...], Cell]:
    found = {}
    for quality in summary.quality:
        if "accuracy" in quality.summary.metrics:
            found[_training(quality.summary)] = metric_cell("accuracy", quality.summary.metrics)
    return found


def _training(entry: CaseSummary) -> tuple[str, ...]:
    return (entry.case.workload, entry.case.mode, entry.case.device, entry.case.precision)


def _notes(shown: Sequence[Best], layout: _Layout, summary: RunSummary) -> tuple[Line, ...]:
    legend = "+ fastest of its mode and device; " if layout.overall else ""
    against = f"; vs baseline: best against the best of {pattern(layout.baseline)}" if layout.ratios else ""
    return (
        line(f"{legend}± is the half-width of the 95 % interval over launches{against}."),
        *(
            line(f"! {best.summary.label} is not called best: {why_not(best.summary)}")
            for best in shown
            if not best.won
        ),
        *absent_notes(summary.cases, ("mean_power_w", "energy_per_sample_j")),
    )


def section(view: View) -> Section:
    return Section("best", "Best settings", short="Best", tables=best_tables(view.summary))
