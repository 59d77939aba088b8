"""The commands as functions, for other programs: `gpubench.load_run`, `run_suite`, `compare`."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpubench.core.errors import UsageError
from gpubench.store.run_reader import Run

if TYPE_CHECKING:
    import pandas as pd

    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.analysis.summary.run_summary import RunSummary
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.runner.events import Listener
    from gpubench.suite.load import LoadedSuite

__all__ = ["StoredRun", "compare", "load_run", "load_suite", "run_suite"]

DEFAULT_STORE = "reports"


class DrawnChart(NamedTuple):
    """One chart: `title` says what it shows, `reading` how to read it; `svg` is a complete document."""

    key: str
    title: str
    reading: str
    svg: str


@dataclass(frozen=True)
class Charts:
    """Charts of a run. A notebook shows them; elsewhere `save` writes them as SVG files."""

    charts: tuple[DrawnChart, ...]

    def __repr__(self) -> str:
        return f"<Charts {', '.join(chart.key for chart in self.charts)}>"

    def _repr_html_(self) -> str:
        return "".join(f"<figure>{chart.svg}<p>{escape(chart.reading)}</p></figure>" for chart in self.charts)

    def save(self, folder: str | Path) -> list[Path]:
        """Write one SVG file per chart into `folder`, which is made if needed. Returns the paths."""
        from gpubench.store.atomic_files import write_output

        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = [Path(folder, f"{chart.key}.svg") for chart in self.charts]
        for path, chart in zip(paths, self.charts, strict=True):
            write_output(path, chart.svg)
        return paths


@dataclass(frozen=True)
class StoredRun(Run):
    """A run read from its folder.

    `info` describes the request and the machine, `records` has every launch in the order stored, `dropped` lists what
    could not be read, and `samples(record)` returns the step times of one launch.
    """

    def __repr__(self) -> str:
        """Name, suite and size only, because the records may be megabytes of text."""
        return f"<StoredRun {self.info.run}: suite {self.info.suite_name}, {len(self.records)} launches, {self.folder}>"

    def summary(self, *, arm: str | None = None) -> "RunSummary":
        """Status, estimates with 95 % intervals and findings per case. With `arm`, only from that arm's launches."""
        from gpubench.analysis.summary.run_summary import summarise_run

        return summarise_run(self, arm=arm)

    def frame(self, *, pivot: bool = False) -> "pd.DataFrame":
        """The long table: one row per case and metric, settings in columns, values in SI units with 95 % intervals.

        With `pivot` one row per case and a column per metric, without intervals; the settings that differ between cases
        are its index.
        """
        from gpubench.analysis.summary.long_table import frame, wide_frame

        return wide_frame(self.summary()) if pivot else frame(self.summary())

    def _repr_html_(self) -> str:
        """The screen that ends `gpubench run`, or for a run with arms that of `gpubench compare`: for notebooks."""
        from gpubench.report.build import build_report
        from gpubench.report.comparison.versus import arms_report
        from gpubench.report.render.result_screen import RESULT_SECTIONS, as_html, final_screen, print_comparison
        from gpubench.report.view.run_view import View

        if self.info.arms:
            compared = arms_report(self, folder=self.folder)
            return as_html(lambda writer: print_comparison(writer, compared))
        model = build_report(View(self.summary(), name=self.info.run), pages=False, only=RESULT_SECTIONS)
        return as_html(lambda writer: final_screen(writer, model))

    def plot(self, section: str) -> "Charts":
        """The charts of a section of the report: `batch`, `effects`, `waterfall`, `memory`, `energy`, `ceilings`,
        `accuracy`, ... A notebook shows them; `save` writes them.

        UsageError with the sections that have charts if this one has none.
        """
        from gpubench.report.drawing.draw import draw_apart, stand_alone
        from gpubench.report.write import report_of

        model = report_of(self)
        by_section = {each.key: each.charts for each in model.sections if each.charts}
        if section not in by_section:
            raise UsageError(
                f"run {self.info.run} has no chart for {section!r}",
                hint=f"It has charts for {', '.join(by_section)}."
                if by_section
                else "Too little was measured for one.",
            )
        drawings, reasons = draw_apart(by_section[section])
        if reasons:
            raise UsageError(f"not drawn: {'; '.join(reasons.values())}")
        return Charts(
            tuple(
                DrawnChart(each.key, each.title, each.reading, stand_alone(drawings[each.key]))
                for each in by_section[section]
            )
        )


def load_run(reference: str | Path = "@last", store: str | Path = DEFAULT_STORE) -> StoredRun:
    """Load the run that `reference` names: a path, a folder in `store`, the start of its name, a tag, `@last`,
    `@last~2`.

    UsageError if no run or several runs match, StoreError if the folder cannot be read.
    """
    from gpubench.store.run_names import resolve_run
    from gpubench.store.run_reader import load_run as load

    return _stored(load(resolve_run(reference, Path(store))))


def load_suite(source: str | Path, overrides: Sequence[str] = ()) -> "LoadedSuite":
    """Load a suite and its cases, from a file or by the name of a suite that ships with gpubench. `overrides` are
    written as for `-s` (`AXIS=V,..`).

    SuiteError with every mistake at once, UsageError if there is no such suite.
    """
    from gpubench.suite.load import load_suite as load

    return load(source, tuple(overrides))


def run_suite(
    source: str | Path,
    *,
    overrides: Sequence[str] = (),
    selection: str | None = None,
    store: str | Path = DEFAULT_STORE,
    listener: "Listener | None" = None,
    **options: Any,
) -> StoredRun:
    """Measure a suite or a target as `gpubench run` does, and load the stored run.

    `selection` keeps cases as `-k` does. `listener` is called with each event of `gpubench.runner.events`, in the
    calling thread. Other keywords are the fields of `gpubench.runner.run.RunRequest` (`out`, `tag`, `seed`,
    `budget_s`, ...). SuiteError, UsageError or StoreError are raised before anything is measured; a case that fails is
    a record. Ctrl-C ends the step and stores it, then raises KeyboardInterrupt.
    """
    from gpubench.analysis.fleet.judge_run import suspects_of
    from gpubench.analysis.insight.paired_ratios import still_wanted
    from gpubench.report.write import keep_ceilings
    from gpubench.runner.run import run_suite as run

    asked = {"selection": selection, "store": Path(store), **options}
    asked |= {"still_wanted": still_wanted, "suspects": suspects_of}
    stored = _stored(run(source, listener, overrides=overrides, **asked))
    keep_ceilings(stored.summary())
    return stored


def compare(
    reference: StoredRun | str | Path,
    candidate: StoredRun | str | Path | None = None,
    settings: "CompareSettings | None" = None,
    *,
    metrics: Sequence[str] | None = None,
    allow_unpaired: bool = False,
    force: bool = False,
    store: str | Path = DEFAULT_STORE,
) -> "Compared":
    """Compare the cases of two runs; without `candidate`, the second arm of a run with its first.

    Runs may be given as `load_run` takes them. The result has `changes`, a verdict per case and
    metric, and `differences`, what else differs between the two. Without `metrics`: speed, memory, energy and accuracy,
    if they were measured. Two runs were not interleaved, and sessions differ even if nothing changed: times that look
    slower or faster are `unclear` unless `allow_unpaired`. UsageError if GPU or suite differ so that the numbers cannot
    be compared, unless `force`.
    """
    from gpubench.analysis.compare.compare_sides import COMPARED, compare_sides, refuse
    from gpubench.analysis.compare.run_sides import arm_sides, side_of

    opened = _opened(reference, store)
    if candidate is not None:
        other = _opened(candidate, store)
        first, second = side_of(opened, opened.info.run), side_of(other, other.info.run)
    else:
        first, arms = arm_sides(opened)
        if len(arms) > 1:
            names = ", ".join(side.name for side in (first, *arms))
            raise UsageError(
                f"run {opened.info.run} has more than two arms: {names}",
                hint=f"`gpubench compare {opened.info.run}` compares each of them with the first.",
            )
        second = arms[0]
    asked = COMPARED if metrics is None else tuple(metrics)
    compared = compare_sides(first, second, asked, settings, allow_unpaired=allow_unpaired)
    refuse(compared, force=force)
    return compared


def _opened(run: StoredRun | str | Path, store: str | Path) -> StoredRun:
    return run if isinstance(run, StoredRun) else load_run(run, store)


def _stored(run: Run) -> StoredRun:
    return StoredRun(run.info, run.records, run.folder, run.dropped, run.contests)
