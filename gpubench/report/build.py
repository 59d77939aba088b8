"""From a run to its report: one view, and one section per topic. Reads no file, knows no format."""

from collections import Counter
from dataclasses import replace

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.report.answers import answers
from gpubench.report.headline import headline
from gpubench.report.model.report_model import ReportModel, Section, line
from gpubench.report.model.words import count, sentence
from gpubench.report.pages.case_page import case_pages
from gpubench.report.topics.order import sections
from gpubench.report.topics.set_up import machine_line
from gpubench.report.view.run_view import View


def build_report(view: View, *, pages: bool = True) -> ReportModel:
    """The report of one run; without `pages` the single cases are left out."""
    summary = view.summary
    subject = str(summary.info.suite.get("description") or f"run {summary.info.run}").strip().rstrip(".")
    made = [section for topic in sections() if (section := topic(view)) is not None and not section.empty]
    return ReportModel(
        title=f"{summary.info.suite_name}: {subject}",
        subtitle=line(f"{counts_text(summary)}. {sentence(machine_line(summary.info))}."),
        run=summary.info.run,
        headline=headline(summary),
        sections=_with_distinct_charts(made),
        pages=case_pages(view.everything, summary.info) if pages else (),
        answers=answers(summary),
    )


def _with_distinct_charts(made: list[Section]) -> tuple[Section, ...]:
    """Keys of charts become file names: two workloads whose names differ only in punctuation must not share one."""
    met: Counter[str] = Counter()
    kept = []
    for section in made:
        charts = []
        for chart in section.charts:
            met[chart.key] += 1
            charts.append(chart if met[chart.key] == 1 else replace(chart, key=f"{chart.key}-{met[chart.key]}"))
        kept.append(replace(section, charts=tuple(charts)))
    return tuple(kept)


def counts_text(summary: RunSummary) -> str:
    """`12 cases: 10 ok, 1 oom, 1 skipped`; training runs to a result are counted separately."""
    total = count(len(summary.cases), "case")
    if summary.quality:
        trained = count(len(summary.quality), "training run to a result", "training runs to a result")
        total = f"{total} and {trained}"
    counts = ", ".join(f"{number} {status.value}" for status, number in summary.counts.items())
    return f"{total}: {counts}" if counts else total
