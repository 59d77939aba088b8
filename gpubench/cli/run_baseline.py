"""`gpubench run --baseline`: the new run compared with a stored one, below its own screen."""

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from gpubench.analysis.compare.run_sides import Side
    from gpubench.analysis.summary.run_summary import RunSummary
    from gpubench.store.run_reader import Run


def open_baseline(reference: str | None, store: Path, *, arms: bool, as_json: bool) -> "Side | None":
    """Read before anything is measured: `@last` is the run before, and a name that is wrong costs no time.

    UsageError for a run of several arms, and click.UsageError for options that do not go together.
    """
    if reference is None:
        return None
    if arms:
        raise click.UsageError("A run with arms is held against its first one: --baseline does not go with --arm.")
    if as_json:
        raise click.UsageError(
            "--json prints the run alone; `gpubench compare REF @last --json` prints the comparison with a stored one."
        )
    from gpubench.cli.gate.choose_sides import stored_side

    return stored_side(reference, store)


def print_against(baseline: "Side", stored: "Run", summary: "RunSummary", *, wide: bool) -> None:
    """What `gpubench compare` prints of both. A baseline that cannot be compared gets a note: the run is stored."""
    from gpubench.analysis.compare.compare_sides import compare_sides, refuse
    from gpubench.analysis.compare.run_sides import side_of
    from gpubench.cli.screens.comparison_screen import print_comparison
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.core.errors import UsageError
    from gpubench.report.comparison.comparison_report import build_comparison

    compared = compare_sides(baseline, side_of(stored, stored.info.run, summary=summary))
    try:
        refuse(compared)
    except UsageError as error:
        click.echo(f"note: not compared with the baseline: {error}", err=True)
        return
    print_comparison(result_writer(wide=wide), build_comparison(compared))
