"""Which charts a report has, by the section they stand in."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gpubench.analysis.effects import FactorEffect
from gpubench.analysis.summarise import RunSummary
from gpubench.report.charts.accuracy import accuracy_charts
from gpubench.report.charts.batch import batch_chart
from gpubench.report.charts.effects import effect_charts
from gpubench.report.charts.efficiency import efficiency_chart
from gpubench.report.charts.energy import energy_chart, power_chart
from gpubench.report.charts.heat import heat_chart
from gpubench.report.charts.memory import memory_chart
from gpubench.report.charts.roofline import roofline_charts
from gpubench.report.charts.steadiness import spread_chart
from gpubench.report.charts.timeline import timeline_chart
from gpubench.report.charts.waterfall import waterfall_charts
from gpubench.report.contests import charted
from gpubench.report.model import Chart
from gpubench.report.samples import Samples

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
    }  # fmt: skip
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
