"""`gpubench db`: the runs of a team in one database."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.print_errors import say
from gpubench.cli.shared_options import database_option, store_option
from gpubench.core.errors import ExitStatus, StoreError

if TYPE_CHECKING:
    from gpubench.store.database import Database, KeptRun
    from gpubench.store.run_reader import Run


@click.group(name="db")
def command() -> None:
    """Keep the runs of a team in one database.

    The run folders remain the source of truth: a database can be deleted and made again from them.

    \b
    Examples:
      gpubench db sync                       the runs in reports/, into reports/gpubench.db
      gpubench db sync --db sqlite:///runs.db
      gpubench db sync /shared/*/reports --db postgresql+psycopg://bench@db/runs
      gpubench history --db sqlite:///runs.db
    """  # noqa: D301 - click looks for the character itself


@command.command(name="sync")
@click.argument("stores", metavar="[FOLDER]...", nargs=-1, type=click.Path(path_type=Path, file_okay=False))
@database_option
@store_option
def sync(stores: tuple[Path, ...], *, database: str | None, store: Path) -> int:
    """Put stored runs into a database. Runs that it already has stay unchanged.

    FOLDERs hold runs, as --store does. Only runs that are new or have grown are read. Runs with arms are left out: an
    A/B is a comparison, not a point in a history. Exit status 3 if a run could not be read; the others are stored.

    \b
    Examples:
      gpubench db sync
      gpubench db sync /shared/*/reports --db postgresql+psycopg://bench@db/runs
    """  # noqa: D301 - click looks for the character itself
    from gpubench.report.model.words import count
    from gpubench.store.database import DATABASE_NAME, Database

    folders = stores or (store,)
    for folder in folders:
        if not folder.is_dir():
            raise click.BadParameter(f"there is no folder {folder}", param_hint="FOLDER" if stores else "--store")
    skipped: Counter[str] = Counter()
    with Database(database or f"sqlite:///{store / DATABASE_NAME}", create=True) as opened:
        added = opened.put(_new_runs(opened, folders, skipped))
        beside = [f"{count(skipped['known'], 'run')} there already"] if skipped["known"] else []
        beside += [f"{count(skipped['arms'], 'A/B run')} left out"] if skipped["arms"] else []
        click.echo(f"{count(added, 'run')} stored in {opened.name}" + (f" ({', '.join(beside)})" if beside else ""))
    return ExitStatus.CASE_FAILED if skipped["unreadable"] else ExitStatus.OK


def _new_runs(database: "Database", stores: tuple[Path, ...], skipped: Counter[str]) -> "Iterator[KeptRun]":
    """Runs that the database lacks or that have grown. Counts the `skipped`: known, with arms, or unreadable."""
    from gpubench.store.database import stamp_of
    from gpubench.store.run_names import list_heads
    from gpubench.store.run_reader import load_run

    known = database.stamps()
    for store in stores:
        for folder, head in reversed(list_heads(store)):
            try:
                stamp = stamp_of(folder)
                if head is not None and known.get((folder.name, head.created)) == stamp:
                    skipped["known"] += 1
                    continue
                kept = _kept(load_run(folder), stamp)
            except StoreError as error:
                say(f"note: {folder.name} was left out: {error}")
                skipped["unreadable"] += 1
                continue
            if kept is None:
                skipped["arms"] += 1
            else:
                yield kept


def _kept(run: "Run", stamp: str) -> "KeptRun | None":
    """A run as stored in the database; None for a run with arms."""
    from gpubench.analysis.compare.run_sides import arms_of, commit_of
    from gpubench.analysis.history.case_history import kept_run
    from gpubench.analysis.summary.run_summary import summarise_run
    from gpubench.core.metrics import METRICS
    from gpubench.store.database import Figure, KeptRun

    if arms_of(run):
        return None
    summary = summarise_run(run)
    figures = []
    for case in (*summary.cases, *(entry.summary for entry in summary.quality)):
        for name in METRICS:
            if (found := case.metrics.get(name)) is None:
                continue
            figures.append(
                Figure(
                    case.case_id,
                    case.label,
                    case.kind,
                    case.status.value,
                    case.validity.value,
                    name,
                    METRICS[name].unit,
                    found.value,
                    found.low,
                    found.high,
                    found.n,
                )
            )
    info = run.info
    return KeptRun(
        run.folder.name,
        info.created,
        stamp,
        str(run.folder.resolve()),
        info.tag,
        commit_of(run),
        kept_run(run, summary),
        figures,
    )
