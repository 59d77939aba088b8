"""The gain of each step on a suite's path, as a table and in a sentence."""

from collections.abc import Callable

from gpubench.analysis.insight.ablation import Changes, Stage, Waterfall, waterfall
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.report.model.figure_cells import measured_cell, metric_cell, ratio_cell, ratio_text, times_text
from gpubench.report.model.report_model import (
    EMPTY,
    Cell,
    Chart,
    Column,
    Datum,
    Line,
    Section,
    Table,
    line,
    lines,
    strong,
)
from gpubench.report.model.words import joined, title, word
from gpubench.report.view.case_tables import MEMORY, mark, memory_metric, metric_column, tone
from gpubench.report.view.contests import times
from gpubench.report.view.run_view import View

_MOST_NAMED = 3
_SAME = 1e-6
"""Ratios over the same launches multiply to the whole exactly, up to rounding."""


def section(view: View) -> Section | None:
    """None for a suite without a path, or without figures on it."""
    found = waterfall(view.summary)
    if found is None:
        return None
    return Section(
        "waterfall",
        "Step by step",
        short="Waterfall",
        lines=(in_words(found),),
        tables=(waterfall_table(found),),
        charts=(waterfall_chart(found),) if view.charts else (),
    )


def in_words(found: Waterfall) -> Line:
    """How much faster the fastest stage is than the base, and which steps gained most."""
    best, base = found.best, strong(found.base.label)
    if best.total_verdict != "faster":
        sure = " certainly" if best.total.value > 1 else ""
        return line("No step made ", base, f"{sure} faster.")
    way = found.stages[: found.stages.index(best) + 1]
    gains = [stage for stage in way if stage.verdict == "faster"]
    gains.sort(key=lambda stage: -stage.ratio.value)
    named = joined([f"{changes_text(stage.changes)} ({times(stage.ratio.value)})" for stage in gains[:_MOST_NAMED]])
    return line(
        strong(best.summary.label),
        f" is {times_text(best.total)} as fast as ",
        base,
        f"; most came from {named}." if named else ".",
    )


def waterfall_table(found: Waterfall) -> Table:
    """A row for the base and for each stage with a figure."""

    def metric(name: str, *, spread: bool = False) -> Callable[[Stage | CaseSummary], Cell]:
        def cell(item: Stage | CaseSummary) -> Cell:
            entry = _case_of(item)
            return measured_cell(memory_metric(entry) if name == MEMORY else name, entry.metrics, spread=spread)

        return cell

    def ratio(name: str, base: Cell = EMPTY) -> Callable[[Stage | CaseSummary], Cell]:
        return lambda item: ratio_cell(getattr(item, name)) if isinstance(item, Stage) else base

    columns = (
        Column("mark", "", "left", cell=lambda item: mark(_case_of(item))),
        Column("index", "#", priority=3, cell=lambda item: _case_of(item).planned.index),
        Column(
            "step", "step", "left", cell=lambda item: changes_text(item.changes) if item is not found.base else "base"
        ),
        metric_column("throughput", 0, lambda item: metric_cell("throughput", _case_of(item).metrics, spread=True)),
        Column("ratio", "this step", cell=ratio("ratio")),
        Column("total", "so far", cell=ratio("total", Cell("1x", value=1.0))),
        Column("alone", "alone", priority=1, cell=ratio("alone")),
        Column("mfu", "MFU %", priority=2, unit="%", cell=metric("mfu")),
        metric_column(MEMORY, 3, metric(MEMORY)),
    )
    whole, product = found.whole, found.product
    inside = whole.low is not None and whole.high is not None and whole.low <= product <= whole.high
    agrees = ", whose interval includes the product" if inside else "; they differ because some launches are missing"
    agrees = "" if abs(product / whole.value - 1) < _SAME else agrees
    notes = lines(
        f"base: {found.base.label}. Each step builds on those above it; alone: the same change on the base by itself.",
        f"The steps multiply to {product:.3g}; the last case over the base is {ratio_text(whole)}{agrees}.",
        *(f"left out: {changes_text(each.changes)} ({each.reason})" for each in found.left_out),
    )
    return Table.of(
        "waterfall",
        columns,
        (found.base, *found.stages),
        title="What each step bought",
        notes=notes,
        tone=lambda item: tone(_case_of(item)),
        case_index=lambda item: _case_of(item).planned.index,
    ).without_empty_columns()


def _case_of(item: Stage | CaseSummary) -> CaseSummary:
    return item.summary if isinstance(item, Stage) else item


def changes_text(changes: Changes) -> str:
    """`precision fp32 → tf32, layout NCHW → NHWC`."""
    return ", ".join(f"{title(name)} {word(name, old)} → {word(name, new)}" for name, (old, new) in changes.items())


def waterfall_chart(found: Waterfall) -> Chart:
    rows: list[tuple[Datum, ...]] = []
    before = 1.0
    for stage in found.stages:
        total, ratio = stage.total, stage.ratio.value
        reading = "faster" if ratio >= 1 else "slower"
        rows.append((changes_text(stage.changes), before, total.value, total.low, total.high, ratio, reading))
        before = total.value
    best, most = found.best, found.most
    finding = "No change is certain to make it faster"
    if best.total_verdict == "faster":
        finding = f"From {times(1.0)} to {times(best.total.value)}"
        sure = most.verdict == "faster"
        finding += f": {changes_text(most.changes)} bought most, {times_text(most.ratio)}" if sure else ""
    return Chart(
        key="waterfall",
        form="waterfall",
        title=finding,
        reading=(
            f"From {found.base.label} downwards, each change builds on those above it; a bar goes from the "
            "speed before it to the speed with it, in multiples of the base, with the 95 % interval at its end."
        ),
        alt=f"Waterfall of speed over the changes of the suite's path. {finding}.",
        columns=("change", "before", "after", "low", "high", "ratio", "reading"),
        rows=tuple(rows),
        options={"x_title": "times the base"},
    )
