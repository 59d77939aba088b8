"""The only part of the report that touches files: HTML, Markdown, charts, stored ceilings."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from gpubench.analysis.compare.run_sides import arms_of
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.measured_ceilings import Ceiling, measured_ceilings, to_facts
from gpubench.analysis.summary.run_summary import RunSummary, summarise_run
from gpubench.machine import machine_cache
from gpubench.profile.figures.summary_model import stored_profiles
from gpubench.report.build import build_report
from gpubench.report.comparison.versus import arms_report
from gpubench.report.drawing.draw import draw_apart, stand_alone
from gpubench.report.listed_folder import ListedFiles, write_whole
from gpubench.report.model.report_model import ReportModel, lines
from gpubench.report.render.csv_text import chart_csv
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import RunWithSamples, load_samples

REPORT_NAME = "report"
CHARTS_FOLDER = "charts"
CHARTS_LIST = ".gpubench-charts"
"""The file in a folder of charts that lists those written by a report, one per line."""
_ELSEWHERE = "`gpubench report RUN -o FILE.html` writes it elsewhere."
_CHARTS = ListedFiles(CHARTS_LIST, "svg|csv", "a report", _ELSEWHERE)
_MOST_ROWS = 40
"""With more cases than this, tables of single quantities show only the fastest of each precision."""


class RunInFolder(RunWithSamples, Protocol):
    """The part of `store.run_reader.Run` needed here."""

    @property
    def folder(self) -> Path: ...
    @property
    def dropped(self) -> Sequence[str]: ...


def report_of(
    run: RunInFolder, name: str = "", summary: RunSummary | None = None, *, only: Collection[str] | None = None
) -> ReportModel:
    """The report of a run with everything a document shows; `name` is the run's name in commands. `only` limits a run
    without arms to these sections, without single cases.

    A run with arms is reported as their comparison: launches of two arms are never mixed.
    """
    if arms_of(run):
        return arms_report(run, folder=run.folder)
    summary = summary or summarise_run(run)
    decision = Decision(summary)
    samples, notices = load_samples(run, decision)
    view = View(
        summary,
        decided=decision,
        name=name,
        samples=samples,
        profiles=stored_profiles(run.folder),
        notices=(*run.dropped, *notices),
        charts=True,
        most_rows=_MOST_ROWS,
    )
    return build_report(view, pages=only is None, only=only)


def write_both(model: ReportModel, folder: Path, stem: str = REPORT_NAME) -> Path:
    """Write `report.html`, `report.md` and `charts/`, each chart drawn once, and return the path of the HTML.

    Each file is written whole or not at all. StoreError if one cannot be written.
    """
    drawn = draw_charts(model)
    write_markdown(model, folder / f"{stem}.md", drawn, force=True)
    return write_html(model, folder / f"{stem}.html", drawn)


def draw_charts(model: ReportModel) -> tuple[ReportModel, dict[str, str]]:
    """The report with a sentence in place of each chart that could not be drawn, and the other charts as SVG by key."""
    return draw_together([model])[0]


def draw_together(models: Sequence[ReportModel]) -> list[tuple[ReportModel, dict[str, str]]]:
    """The same for several reports whose charts have different keys, all drawn by one process."""
    drawings, reasons = draw_apart([chart for model in models for chart in model.charts])
    found = []
    for model in models:
        sections = []
        for section in model.sections:
            failed = [chart for chart in section.charts if chart.key in reasons]
            said = lines(*(f"Not drawn: {chart.title} ({reasons[chart.key]})." for chart in failed))
            charts = tuple(chart for chart in section.charts if chart not in failed)
            sections.append(replace(section, charts=charts, lines=(*section.lines, *said)) if failed else section)
        drawn = {chart.key: drawings[chart.key] for chart in model.charts if chart.key in drawings}
        found.append((replace(model, sections=tuple(sections)), drawn))
    return found


def write_html(model: ReportModel, path: Path, drawn: tuple[ReportModel, dict[str, str]] | None = None) -> Path:
    """The report as one HTML file, with the charts of `draw_charts`. StoreError if it cannot be written."""
    write_whole(path, render_html(*(drawn or draw_charts(model))), _ELSEWHERE)
    return path


def write_markdown(
    model: ReportModel, path: Path, drawn: tuple[ReportModel, dict[str, str]] | None = None, *, force: bool = False
) -> Path:
    """The report as Markdown, with its charts as SVG and CSV in a folder beside it. StoreError if one cannot be
    written; files in that folder that no report wrote are overwritten only with `force`, and never removed.
    """
    folder = path.parent / charts_folder(path)
    shown, drawings = drawn or draw_charts(model)
    files = {f"{key}.svg": stand_alone(drawing) for key, drawing in drawings.items()}
    files |= {f"{chart.key}.csv": chart_csv(chart) for chart in shown.charts}
    _CHARTS.write(folder, files.keys(), files.items(), force=force)
    write_whole(path, render_markdown(shown, charts=folder.name), _ELSEWHERE)
    return path


def charts_folder(path: Path) -> str:
    """`charts` beside `report.md`; `NAME-charts` beside any other, so that two reports share no folder."""
    return CHARTS_FOLDER if path.stem == REPORT_NAME else f"{path.stem}-{CHARTS_FOLDER}"


def keep_ceilings(summary: RunSummary, where: Path | None = None) -> tuple[Path, ...]:
    """Stores measured ceilings and returns the files, one per device; none for a run without operators, or if the cache
    is not writable.
    """
    by_device: dict[str, list[Ceiling]] = {}
    for ceiling in measured_ceilings(summary.info, summary.cases):
        by_device.setdefault(ceiling.device.key, []).append(ceiling)
    written = [
        machine_cache.remember_ceilings(key, [to_facts(each) for each in found], where)
        for key, found in by_device.items()
    ]
    return tuple(path for path in written if path is not None)
