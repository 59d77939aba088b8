"""The one place of the report that touches files: HTML, its Markdown twin, the charts beside it, stored ceilings."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gpubench.analysis.compare.run_sides import arms_of
from gpubench.analysis.summary.measured_ceilings import Ceiling, measured_ceilings, to_facts
from gpubench.analysis.summary.run_summary import RunSummary, summarise_run
from gpubench.core.errors import StoreError
from gpubench.machine import machine_cache
from gpubench.profile.figures.summary_model import stored_profiles
from gpubench.report.build import build_report
from gpubench.report.comparison.versus import arms_report
from gpubench.report.model.report_model import ReportModel
from gpubench.report.render.csv_text import chart_csv
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import RunWithSamples, load_samples

REPORT_NAME = "report"
CHARTS_FOLDER = "charts"
_MOST_ROWS = 40
"""Cases from which on tables of single quantities show the fastest of each precision alone."""


class RunInFolder(RunWithSamples, Protocol):
    """What is needed of `store.runs.Run`."""

    @property
    def folder(self) -> Path: ...
    @property
    def dropped(self) -> Sequence[str]: ...


def report_of(run: RunInFolder, name: str = "", summary: RunSummary | None = None) -> ReportModel:
    """The report of a run with everything a document shows; `name` is how commands may call the run.

    A run of several arms is reported as the comparison of them: launches of two arms are never mixed.
    """
    if arms_of(run):
        return arms_report(run)
    summary = summary or summarise_run(run)
    samples, notices = load_samples(run, summary)
    view = View(
        summary,
        name=name,
        samples=samples,
        profiles=stored_profiles(run.folder),
        notices=(*run.dropped, *notices),
        charts=True,
        most_rows=_MOST_ROWS,
    )
    return build_report(view)


def write_both(model: ReportModel, folder: Path, stem: str = REPORT_NAME) -> Path:
    """Write `report.html`, `report.md` and `charts/`, each chart drawn once, and return the path of the HTML.

    Each file is written whole or not at all. StoreError if one cannot be written.
    """
    drawings = draw_charts(model)
    write_markdown(model, folder / f"{stem}.md", drawings)
    return write_html(model, folder / f"{stem}.html", drawings)


def draw_charts(model: ReportModel) -> dict[str, str]:
    """Every chart as SVG by its key."""
    from gpubench.report.drawing.draw import draw

    return {chart.key: draw(chart) for chart in model.charts}


def write_html(model: ReportModel, path: Path, drawings: Mapping[str, str] | None = None) -> Path:
    """The report as one HTML file. StoreError if it cannot be written."""
    _write(path, render_html(model, draw_charts(model) if drawings is None else drawings))
    return path


def write_markdown(model: ReportModel, path: Path, drawings: Mapping[str, str] | None = None) -> Path:
    """The report as Markdown, with its charts as SVG and CSV in a folder beside it. StoreError if one cannot be
    written.
    """
    from gpubench.report.drawing.draw import stand_alone

    folder = path.parent / charts_folder(path)
    drawn = draw_charts(model) if drawings is None else drawings
    files = {f"{key}.svg": stand_alone(drawing) for key, drawing in drawn.items()}
    files |= {f"{chart.key}.csv": chart_csv(chart) for chart in model.charts}
    _write_folder(folder, files)
    _write(path, render_markdown(model, charts=folder.name))
    return path


def charts_folder(path: Path) -> str:
    """`charts` beside `report.md`; `NAME-charts` beside any other, so that two reports share no folder."""
    return CHARTS_FOLDER if path.stem == REPORT_NAME else f"{path.stem}-{CHARTS_FOLDER}"


def _write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Charts that are no longer drawn are removed: nothing else may stand in a folder of charts."""
    try:
        folder.mkdir(exist_ok=True) if files or folder.exists() else None
        for name, text in files.items():
            _write(folder / name, text)
        for old in folder.glob("*.*") if folder.exists() else ():
            if old.suffix in (".svg", ".csv") and old.name not in files:
                old.unlink()
    except OSError as error:
        raise _cannot(folder, error) from error


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        # Where nothing can be written nothing can be removed either; what stays is hidden and never read.
        with suppress(OSError):
            partial.unlink()
        raise _cannot(path, error) from error


def _cannot(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write {path}: {error.strerror}", hint="`gpubench report RUN -o FILE.html` writes it elsewhere."
    )


def keep_ceilings(summary: RunSummary, where: Path | None = None) -> tuple[Path, ...]:
    """The files written, one per device; none for a run without operators, or if the cache is not writable."""
    by_device: dict[str, list[Ceiling]] = {}
    for ceiling in measured_ceilings(summary.info, summary.cases):
        by_device.setdefault(ceiling.device.key, []).append(ceiling)
    written = [
        machine_cache.remember_ceilings(key, [to_facts(each) for each in found], where)
        for key, found in by_device.items()
    ]
    return tuple(path for path in written if path is not None)
