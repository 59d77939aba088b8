"""From the base of a suite's path to its end: what each change on the way bought."""

from gpubench.analysis.insight.ablation import Changes, Waterfall, waterfall
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.model.figure_cells import ratio_text
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.setting_words import title, word
from gpubench.report.topics.charts.phrases import times


def waterfall_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """One chart where the suite has a path of which some stage has a figure."""
    found = waterfall(summary)
    return () if found is None else (_chart(found),)


def changes_text(changes: Changes) -> str:
    """`precision fp32 → tf32, layout NCHW → NHWC`."""
    return ", ".join(f"{title(name)} {word(name, old)} → {word(name, new)}" for name, (old, new) in changes.items())


def _chart(found: Waterfall) -> Chart:
    rows: list[tuple[Datum, ...]] = []
    before = 1.0
    for stage in found.stages:
        total = stage.total
        ends = (total.low, total.high)
        rows.append(
            (changes_text(stage.changes), before, total.value, *ends, stage.ratio.value, _reading(stage.ratio.value))
        )
        before = total.value
    most = found.most
    finding = (
        f"From {times(1.0)} to {times(found.best.total.value)}: {changes_text(most.changes)} bought most, "
        f"{ratio_text(most.ratio)} times"
    )
    return Chart(
        key="waterfall",
        form="waterfall",
        title=finding,
        reading=(
            f"From {found.base.label} downwards, each change stands on top of those above it; a bar goes from the speed before "
            "it to the speed with it, in multiples of the base, with the 95 % interval at its end."
        ),
        alt=f"Waterfall of speed over the changes of the suite's path. {finding}.",
        columns=("change", "before", "after", "low", "high", "ratio", "reading"),
        rows=tuple(rows),
        options={"x_title": "times the base"},
    )


def _reading(ratio: float) -> str:
    return "faster" if ratio >= 1 else "slower"
