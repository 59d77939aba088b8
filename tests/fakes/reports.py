"""What a report holds, for tests of its parts."""

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.build import build_report
from gpubench.report.model.report_model import Chart
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import Samples


def charts_of(summary: RunSummary, samples: Samples | None = None) -> dict[str, tuple[Chart, ...]]:
    """The charts of each section by its key."""
    model = build_report(View(summary, samples=samples or {}, charts=True), pages=False)
    return {section.key: section.charts for section in model.sections if section.charts}
