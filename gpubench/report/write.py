"""The only part of the report that touches files: HTML, Markdown, charts, stored ceilings."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from gpubench.analysis.compare.run_sides import arms_of
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.measured_ceilings import Ceiling, measured_ceilings, to_facts
from gpubench.analysis.summary.run_summary import RunSummary, summarise_run
from gpubench.core.errors import StoreError, UsageError
from gpubench.machine import machine_cache
from gpubench.profile.figures.summary_model import stored_profiles
from gpubench.report.build import build_report
from gpubench.report.comparison.versus import arms_report
from gpubench.report.drawing.draw import draw_apart, stand_alone
from gpubench.report.model.report_model import ReportModel, lines
from gpubench.report.render.csv_text import chart_csv
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import RunWithSamples, load_samples
from gpubench.store.atomic_files import replace_file

REPORT_NAME = "report"
CHARTS_FOLDER = "charts"
CHARTS_LIST = ".gpubench-charts"
"""The file in a folder of charts that lists those written by a report, one per line."""
_CHART_FILE = re.compile(r"^[\w.-]+\.(?:svg|csv)$", re.MULTILINE | re.ASCII)
_MOST_LISTED_BYTES = 2**20
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
        return arms_report(run)
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
    drawings, reasons = draw_apart(model.charts)
    sections = []
    for section in model.sections:
        failed = [chart for chart in section.charts if chart.key in reasons]
        said = lines(*(f"Not drawn: {chart.title} ({reasons[chart.key]})." for chart in failed))
        charts = tuple(chart for chart in section.charts if chart not in failed)
        sections.append(replace(section, charts=charts, lines=(*section.lines, *said)) if failed else section)
    return replace(model, sections=tuple(sections)), drawings


def write_html(model: ReportModel, path: Path, drawn: tuple[ReportModel, dict[str, str]] | None = None) -> Path:
    """The report as one HTML file, with the charts of `draw_charts`. StoreError if it cannot be written."""
    _write(path, render_html(*(drawn or draw_charts(model))))
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
    _write_folder(folder, files, force=force)
    _write(path, render_markdown(shown, charts=folder.name))
    return path


def charts_folder(path: Path) -> str:
    """`charts` beside `report.md`; `NAME-charts` beside any other, so that two reports share no folder."""
    return CHARTS_FOLDER if path.stem == REPORT_NAME else f"{path.stem}-{CHARTS_FOLDER}"


def _write_folder(folder: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Writes the charts and a list of them. Removes only files in an earlier list that are no longer drawn."""
    listed = folder / CHARTS_LIST
    try:
        if folder.is_symlink():
            raise StoreError(
                f"{folder} is a link, and gpubench does not write charts through links",
                hint="Remove it, or use -o FILE.md.",
            )
        folder.mkdir(exist_ok=True) if files or folder.exists() else None
        known = listed.is_file() and not listed.is_symlink() and listed.stat().st_size < _MOST_LISTED_BYTES
        ours = set(_CHART_FILE.findall(listed.read_text(encoding="utf-8", errors="replace"))) if known else set[str]()
        foreign = [] if force else [name for name in files if name not in ours and os.path.lexists(folder / name)]
        if foreign:
            raise UsageError(
                f"{folder / foreign[0]} exists and was not written by a report", hint="Add --force to overwrite it."
            )
        # The list is written first, so that all later files are known to be ours, however this ends.
        if files or known:
            _write(listed, "".join(f"{name}\n" for name in sorted({*files, *ours})))
        for name, text in files.items():
            _write(folder / name, text)
        for name in ours - files.keys():
            (folder / name).unlink(missing_ok=True)
        if ours - files.keys():
            _write(listed, "".join(f"{name}\n" for name in sorted(files)))
    except OSError as error:
        raise _cannot(folder, error) from error


def _write(path: Path, text: str) -> None:
    """Writes the file whole or not at all. A link at `path` is replaced, never followed."""
    try:
        replace_file(path, text.encode(), mode=0o666)
    except OSError as error:
        raise _cannot(path, error) from error


def _cannot(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write {path}: {error.strerror}", hint="`gpubench report RUN -o FILE.html` writes it elsewhere."
    )


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
