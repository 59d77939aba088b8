"""The commands as functions, for other programs: `gpubench.load_run`, `run_suite`, `compare`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    def frame(self) -> "pd.DataFrame":
        """The long table: one row per case and metric, settings in columns, values in SI units with 95 % intervals."""
        from gpubench.analysis.summary.long_table import frame

        return frame(self.summary())


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
    """Measure a suite as `gpubench run` does, and load the stored run.

    `selection` keeps cases as `-k` does. `listener` is called with each event of `gpubench.runner.events`, in the
    calling thread. Other keywords are the fields of `gpubench.runner.run.RunRequest` (`out`, `tag`, `seed`,
    `budget_s`, ...). SuiteError, UsageError or StoreError are raised before anything is measured; a case that fails is
    a record. Ctrl-C ends the step and stores it, then raises KeyboardInterrupt.
    """
    from gpubench.analysis.insight.paired_ratios import still_wanted
    from gpubench.report.write import keep_ceilings
    from gpubench.runner.run import run_suite as run

    asked = {"selection": selection, "store": Path(store), **options}
    stored = _stored(run(source, listener, overrides=overrides, still_wanted=still_wanted, **asked))
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
