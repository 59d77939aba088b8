"""`gpubench bisect`: find the commit that made a case slower."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.console import fitted
from gpubench.cli.print_errors import say
from gpubench.cli.shared_options import (
    complete_suites,
    json_option,
    seconds,
    select_option,
    set_option,
    share,
    store_option,
)
from gpubench.core.errors import ExitStatus

if TYPE_CHECKING:
    from gpubench.cli.bisect_judge import Show
    from gpubench.store.bisection_file import StoredBisection
    from gpubench.suite.load import LoadedSuite


@click.command(name="bisect")
@click.argument("suite", metavar="SUITE|TARGET", required=False, shell_complete=complete_suites)
@click.option("--good", metavar="REV", help="A revision at which it was still fast: a tag, branch or commit.")
@click.option("--bad", metavar="REV", default="HEAD", show_default=True, help="A later one at which it is slow.")
@set_option
@select_option
@click.option("--metric", metavar="NAME", help="What got worse (default: the speed of a case).")
@click.option("--sesoi", type=share, default="2%", show_default=True, help="The smallest change that matters.")
@click.option(
    "--rounds",
    type=click.IntRange(10, 1000),
    default=24,
    show_default=True,
    metavar="N",
    help="At most N rounds per judgement.",
)
@click.option("--budget", callback=seconds, metavar="TIME", help="Stop after this long (2h); --resume goes on.")
@click.option(
    "--resume", "resumed", type=click.Path(path_type=Path), metavar="FOLDER", help="Continue a search that was stopped."
)
@store_option
@json_option
def command(
    suite: str | None,
    *,
    good: str | None,
    bad: str,
    overrides: tuple[str, ...],
    selection: str | None,
    metric: str | None,
    sesoi: float,
    rounds: int,
    budget: float | None,
    resumed: Path | None,
    store: Path,
    as_json: bool,
) -> int:
    """Find the commit that made a case slower.

    Compares --bad with --good in every case, then follows the case that got worst through the commits between them. A
    judgement is an A/B of one commit against the good one, measured in turn, so that a busy machine cannot point at the
    wrong commit. The search weighs how sure each judgement is and ends when one commit is 90 % likely; that commit is
    then compared with the one before it.

    Revisions are installed as by `--arm head=git=REV`. A commit that cannot be installed or measured is skipped. Ctrl-C
    keeps what is known. Exit status 3 if no single commit was found, 2 if --bad is not worse than --good.

    \b
    Examples:
      gpubench bisect suites/mine.yaml --good v1.2
      gpubench bisect suites/mine.yaml --good v1.2 --bad main -k 'mode=train' --sesoi 1%
      gpubench bisect suites/mine.yaml --good v1.2 --metric peak_memory_allocated_bytes
      gpubench bisect --resume reports/20261130-0210-bisect-mine-1f2e
    """  # noqa: D301 - click looks for the character itself
    if (suite is None) == (resumed is None):
        raise click.UsageError("Name a suite or target to search with, or a search to --resume.")
    if suite is not None and good is None:
        raise click.UsageError("--good is missing: name a revision at which it was still fast.")
    if resumed is not None and (good or overrides or selection or metric):
        raise click.UsageError("--resume continues the search as it was begun: it takes no --good, -s, -k or --metric.")
    from gpubench.cli.screens.bisect_screen import answer_lines, bisection_document
    from gpubench.report.render.json_document import to_json
    from gpubench.runner.run import RunRequest
    from gpubench.store.bisection_file import read_bisection, write_bisection
    from gpubench.suite.load import load_suite

    until_s = None if budget is None else time.monotonic() + budget
    if resumed is not None:
        folder, state = resumed, read_bisection(resumed)
        _check_folder(state)
        loaded = load_suite(state.suite, (*state.overrides, "quality=off"))
    else:
        assert suite is not None
        assert good is not None
        loaded = load_suite(suite, (*overrides, "quality=off"))
        RunRequest(loaded, selection=selection).wanted()
        state = _begun(suite, overrides, selection, metric, sesoi, rounds, good, bad)
        folder = _made(store, state)
        write_bisection(folder, state)
    state, stopped, status = _search(state, loaded, folder, until_s)
    if as_json:
        click.echo(to_json(bisection_document(state, folder, stopped=stopped)), nl=False)
    else:
        lines = answer_lines(state, folder, stopped=stopped)
        click.echo("\n".join(["", *(fitted(line, sys.stdout) for line in lines)]))
    return status


def _search(
    state: "StoredBisection", loaded: "LoadedSuite", folder: Path, until_s: float | None
) -> "tuple[StoredBisection, str | None, ExitStatus]":
    """Judges commits until one is found. Returns what is known by then, and why it stopped before (None if it did not).

    Every judgement is stored in `folder` at once.
    """
    from gpubench.cli.bisect_judge import ArmJudge
    from gpubench.cli.bisect_search import SearchStopped, answer, search
    from gpubench.cli.screens.bisect_screen import first_line, judgement_line
    from gpubench.store.bisection_file import write_bisection

    say(first_line(state))
    for number in range(len(state.judgements)):
        say(judgement_line(state, number))

    def keep(now: "StoredBisection") -> None:
        nonlocal state
        state = now
        write_bisection(folder, now)
        say(judgement_line(now, len(now.judgements) - 1))

    try:
        with _status() as show:
            state = search(state, ArmJudge(loaded, folder, show, until_s), keep)
    except SearchStopped as error:
        return state, str(error), ExitStatus.CASE_FAILED
    except KeyboardInterrupt:
        return state, "interrupted", ExitStatus.INTERRUPTED
    return state, None, ExitStatus.OK if answer(state).found else ExitStatus.CASE_FAILED


def _begun(
    suite: str,
    overrides: tuple[str, ...],
    selection: str | None,
    metric: str | None,
    sesoi: float,
    rounds: int,
    good: str,
    bad: str,
) -> "StoredBisection":
    """A new search. UsageError for unknown revisions or metrics."""
    from datetime import UTC, datetime

    from gpubench.core.did_you_mean import near_aside
    from gpubench.core.errors import UsageError
    from gpubench.core.metrics import METRICS
    from gpubench.report.comparison.comparison_report import unknown_metrics
    from gpubench.runner.arms.revision import commit_of, commits_between, find_revision
    from gpubench.store.bisection_file import StoredBisection

    if metric is not None and (unknown_metrics([metric]) or METRICS[metric].group == "quality"):
        said = f"{metric!r} is not a metric that a launch measures and that can get worse{near_aside(metric, METRICS)}"
        raise UsageError(said, hint="`gpubench list metrics` names them.")
    old, new = find_revision(good), find_revision(bad)
    return StoredBisection(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        folder=str(Path.cwd()),
        suite=suite,
        overrides=overrides,
        selection=selection,
        metric=metric,
        sesoi=sesoi,
        rounds=rounds,
        good=commit_of(old),
        commits=tuple(commits_between(old, new)),
    )


def _check_folder(state: "StoredBisection") -> None:
    from gpubench.core.errors import UsageError

    if Path(state.folder) != Path.cwd():
        raise UsageError(f"the search was begun in {state.folder}", hint="Run the command again from there.")


def _made(store: Path, state: "StoredBisection") -> Path:
    """A new folder for the search and its runs. StoreError if it cannot be made."""
    from datetime import UTC, datetime

    from gpubench.store.atomic_files import check_room, store_error
    from gpubench.store.run_names import new_run_name

    stem = "".join(char if char.isalnum() else "-" for char in Path(state.suite).stem)
    folder = store / new_run_name(f"bisect-{stem}", datetime.now(UTC), store)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise store_error("make", folder, error) from error
    check_room(folder)
    return folder


@contextmanager
def _status() -> "Iterator[Show]":
    """A status line on a terminal that says what is being judged; elsewhere nothing."""
    from gpubench.cli.console import progress_console, redraws
    from gpubench.report.model.inert_text import inert

    if not redraws(sys.stderr):
        yield lambda _: None
        return
    from rich.text import Text

    with progress_console().status("") as status:
        yield lambda text: status.update(Text(inert(text)))
