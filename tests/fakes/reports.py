"""What a report holds, for tests of its parts, and reports without drawings for tests of everything else."""

import pytest

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report import write
from gpubench.report.build import build_report
from gpubench.report.model.report_model import Chart
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import Samples


def charts_of(summary: RunSummary, samples: Samples | None = None) -> dict[str, tuple[Chart, ...]]:
    """The charts of each section by its key."""
    model = build_report(View(summary, samples=samples or {}, charts=True), pages=False)
    return {section.key: section.charts for section in model.sections if section.charts}


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Charts are empty drawings from here on: each report would start a process that draws, which takes a second."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    patch.setattr(write, "draw_apart", lambda charts: (dict.fromkeys((chart.key for chart in charts), empty), {}))
