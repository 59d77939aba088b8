"""The runs of a history, from run folders or from a database."""

from collections.abc import Iterable
from pathlib import Path

from gpubench.analysis.compare.run_sides import arms_of
from gpubench.analysis.history.case_history import PastRun, past_run, past_runs
from gpubench.core.errors import StoreError, UsageError
from gpubench.store.database import Database
from gpubench.store.run_names import list_runs
from gpubench.store.run_reader import load_run


def open_past_runs(store: Path, database: str | None, suite: str | None, notes: list[str]) -> list[PastRun]:
    """The runs in `database`, or without one those in `store`, oldest first, of one suite or of all.

    `notes` gets what was left out: damaged folders, copies, and runs with arms.
    """
    if database is not None:
        with Database(database) as opened:
            return _once([past_run(kept) for kept in opened.runs(suite)], notes)
    runs = []
    for folder in reversed(list_runs(store)):
        try:
            run = load_run(folder)
        except StoreError as error:
            notes.append(f"{folder.name} was left out: {error}")
            continue
        if suite is None or run.info.suite_name == suite:
            runs.append(run)
    with_arms = sum(bool(arms_of(run)) for run in runs)
    if with_arms:
        notes.append(f"A/B runs left out: {with_arms}.")
    return _once(past_runs(runs, notes), notes)


def _once(runs: Iterable[PastRun], notes: list[str]) -> list[PastRun]:
    """Each run once: a copy of a run is no further evidence. `notes` gets the number of copies."""
    found: dict[tuple[str, str], PastRun] = {}
    every = list(runs)
    for run in every:
        found.setdefault((run.run, run.created), run)
    if copies := len(every) - len(found):
        notes.append(f"Copies of other runs left out: {copies}.")
    return list(found.values())


def nothing_found(what: str, store: Path, database: str | None) -> UsageError:
    """The error where none of these runs has `what`."""
    where = f"stored run in {store}" if database is None else "run in the database"
    return UsageError(
        f"no {where} has {what}",
        hint="`gpubench list runs` shows the stored runs; --store DIR sets their folder."
        if database is None
        else "`gpubench db sync` puts stored runs into it.",
    )
