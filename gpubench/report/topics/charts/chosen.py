"""Which charts a report has, by the section they stand in."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gpubench.analysis.insight.factor_effects import FactorEffect
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.model.report_model import Chart
from gpubench.report.topics.charts.accuracy_chart import accuracy_charts
from gpubench.report.topics.charts.batch_chart import batch_chart
from gpubench.report.topics.charts.effects_chart import effect_charts
from gpubench.report.topics.charts.efficiency_chart import efficiency_chart
from gpubench.report.topics.charts.energy_chart import energy_chart, power_chart
from gpubench.report.topics.charts.heat_chart import heat_chart
from gpubench.report.topics.charts.memory_chart import memory_chart
from gpubench.report.topics.charts.roofline_chart import roofline_charts
from gpubench.report.topics.charts.steadiness_chart import spread_chart
from gpubench.report.topics.charts.timeline_chart import timeline_chart
from gpubench.report.topics.charts.waterfall_chart import waterfall_charts
from gpubench.report.topics.contests import charted
from gpubench.report.topics.samples import Samples

Charts = Mapping[str, tuple[Chart, ...]]


def charts_of(
    summary: RunSummary, samples: Samples | None = None, effects: Sequence[FactorEffect] | None = None
) -> Charts:
    """The charts of each section by its key; those without data are left out. `effects` where they are known already."""
    shown = charted(summary)
    steps = samples or {}
    found = {
        "batch": _known(batch_chart(contest) for contest in shown),
        "waterfall": waterfall_charts(summary),
        "effects": (*effect_charts(summary, effects), *_known(heat_chart(contest) for contest in shown)),
        "memory": _known(memory_chart(contest) for contest in shown),
        "energy": _known(
            chart for contest in shown for chart in (energy_chart(contest), power_chart(contest, summary))
        ),
        "ceilings": roofline_charts(summary),
        "efficiency": _known(efficiency_chart(contest, summary) for contest in shown),
        "steadiness": _known(
            chart for contest in shown for chart in (spread_chart(contest, steps), timeline_chart(contest, steps))
        ),
        "accuracy": accuracy_charts(summary),
    }
    return _distinct(found)


def _distinct(found: Mapping[str, Sequence[Chart]]) -> dict[str, tuple[Chart, ...]]:
    """Keys become file names: two workloads whose names differ in punctuation alone must not share one."""
    met: Counter[str] = Counter()
    charts: dict[str, tuple[Chart, ...]] = {}
    for section, members in found.items():
        kept = []
        for chart in members:
            met[chart.key] += 1
            kept.append(chart if met[chart.key] == 1 else replace(chart, key=f"{chart.key}-{met[chart.key]}"))
        charts[section] = tuple(kept)
    return charts


def _known(charts: Iterable[Chart | None]) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)
