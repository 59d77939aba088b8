"""From the base of a suite's path to its end: which step bought what, as a table and in a sentence."""

from gpubench.analysis.insight.ablation import Stage, Waterfall, waterfall
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.model.figure_cells import metric_cell, ratio_cell, ratio_text
from gpubench.report.model.report_model import EMPTY, Cell, Column, Line, Row, Section, Table, line, strong
from gpubench.report.model.words import joined
from gpubench.report.topics.case_tables import MEMORY, mark, memory_metric, metric_column, tone
from gpubench.report.topics.charts.phrases import times
from gpubench.report.topics.charts.waterfall_chart import changes_text

_MOST_NAMED = 3
_SAME = 1e-6
"""Ratios over the same launches multiply to the whole exactly, up to rounding."""


def waterfall_section(summary: RunSummary) -> Section:
    """Empty for a suite without a path, or without figures on it."""
    found = waterfall(summary)
    heading = "Step by step"
    if found is None:
        return Section("waterfall", heading)
    return Section("waterfall", heading, lines=(in_words(found),), tables=(waterfall_table(found),))


def in_words(found: Waterfall) -> Line:
    """How much faster the fastest stage is than the base, and which steps that came from most."""
    best, base = found.best, strong(found.base.label)
    if best.total.value <= 1:
        return line("No step made ", base, " faster.")
    way = found.stages[: found.stages.index(best) + 1]
    gains = [stage for stage in way if stage.ratio.value > 1]
    gains.sort(key=lambda stage: -stage.ratio.value)
    named = joined([f"{changes_text(stage.changes)} ({times(stage.ratio.value)})" for stage in gains[:_MOST_NAMED]])
    return line(
        strong(best.summary.label),
        f" is {ratio_text(best.total)} times as fast as ",
        base,
        f"; most came from {named}.",
    )


def waterfall_table(found: Waterfall) -> Table:
    """A row for the base and for each stage with a figure."""
    columns = (
        Column("mark", "", "left"),
        Column("index", "#", priority=3),
        Column("step", "step", "left"),
        metric_column("throughput", 0),
        Column("ratio", "this step"),
        Column("total", "so far"),
        Column("alone", "alone", priority=1),
        Column("mfu", "MFU %", priority=2, unit="%"),
        metric_column(MEMORY, 3),
    )
    rows = (_base_row(found.base), *(_row(stage) for stage in found.stages))
    return Table("waterfall", columns, rows, "What each step bought", _notes(found)).without_empty_columns()


def _base_row(base: CaseSummary) -> Row:
    cells = (*_head(base, "base"), EMPTY, Cell("1x", value=1.0), EMPTY, *_tail(base))
    return Row(cells, tone(base), base.planned.index)


def _row(stage: Stage) -> Row:
    entry = stage.summary
    ratios = (ratio_cell(stage.ratio), ratio_cell(stage.total), ratio_cell(stage.alone))
    return Row((*_head(entry, changes_text(stage.changes)), *ratios, *_tail(entry)), tone(entry), entry.planned.index)


def _head(entry: CaseSummary, step: str) -> tuple[Cell, ...]:
    index = Cell(str(entry.planned.index), value=entry.planned.index)
    return Cell(mark(entry)), index, Cell(step), metric_cell("throughput", entry.metrics, spread=True)


def _tail(entry: CaseSummary) -> tuple[Cell, ...]:
    names = ("mfu", memory_metric(entry))
    return tuple(metric_cell(name, entry.metrics) if name in entry.metrics else EMPTY for name in names)


def _notes(found: Waterfall) -> tuple[Line, ...]:
    return (
        line(
            f"base: {found.base.label}. Each step stands on those above it; alone: the same change on the base by itself."
        ),
        line(_multiplied(found)),
        *(line(f"left out: {changes_text(each.changes)} ({each.reason})") for each in found.left_out),
    )


def _multiplied(found: Waterfall) -> str:
    """The steps multiplied, held against the last case over the base."""
    whole, product = found.whole, found.product
    said = f"The steps multiply to {product:.3g}; the last case over the base is {ratio_text(whole)}"
    if abs(product / whole.value - 1) < _SAME:
        return f"{said}."
    inside = whole.low is not None and whole.high is not None and whole.low <= product <= whole.high
    return f"{said}, {'and holds it in its interval' if inside else 'apart, since some launches are missing'}."
