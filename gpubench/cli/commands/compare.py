"""`gpubench compare`: stored runs, or the arms of one, case by case."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.screens.comparison_screen import print_compared, print_compared_json
from gpubench.cli.shared_options import complete_runs, json_option, share, store_option, wide_option

if TYPE_CHECKING:
    from gpubench.analysis.compare.run_sides import Side
    from gpubench.store.run_reader import Run


@click.command(name="compare")
@click.argument("runs", metavar="RUN [RUN...]", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--reference", metavar="ARM", help="The arm that the others are held against (default: the run's first).")
@click.option("-k", "selection", metavar="EXPR", help="Only cases that match: 'precision=amp-bf16 and batch_size>=64'.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="What to compare (default: speed, memory, energy, accuracy).",
)
@click.option("--sesoi", type=share, help="Smallest change that matters (3%; of arms, what their run was given).")
@click.option(
    "--allow-unpaired", is_flag=True, help="Call stored runs slower or faster although they were not interleaved."
)
@click.option("--force", is_flag=True, help="Compare where GPU, suite or settings differ all the same.")
@click.option("-v", "--verbose", is_flag=True, help="Every row, with the reason of its verdict.")
@json_option
@wide_option
@store_option
def command(
    runs: tuple[str, ...],
    *,
    reference: str | None,
    selection: str | None,
    metrics: tuple[str, ...],
    sesoi: float | None,
    allow_unpaired: bool,
    force: bool,
    verbose: bool,
    as_json: bool,
    wide: bool,
    store: Path,
) -> None:
    """Compare runs, case by case.

    One RUN: its arms, launch against launch of the same round, which is the strongest comparison. Several: each against
    the first. What differs in the environment comes first, and runs whose numbers mean nothing together are refused.
    Stored runs of different times are never called slower or faster without --allow-unpaired: two sessions of one
    machine differ by about 1 % with nothing changed.

    \b
    Examples:
      gpubench compare @last                     the arms of the last run
      gpubench compare before after -v           two runs by their tags, every row with its reason
      gpubench compare @last~1 @last -k 'device=cuda' --json
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.compare.compare_sides import COMPARED, compare_sides, refuse
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.cli.gate.choose_sides import sides_to_compare
    from gpubench.core.metrics import SESOI

    _check_metrics(metrics)
    first, others, run = sides_to_compare(runs, store, reference)
    settings = CompareSettings(sesoi=sesoi or (run and run.info.sesoi) or SESOI)
    first, others = _kept(first, selection), tuple(_kept(side, selection) for side in others)
    found = [
        compare_sides(first, side, metrics or COMPARED, settings, allow_unpaired=allow_unpaired) for side in others
    ]
    for each in found:
        refuse(each, force=force)
    if as_json:
        print_compared_json(found)
        return
    folders = _folders(runs, run, store, len(found))
    for number, (each, pair) in enumerate(zip(found, folders, strict=True)):
        print_compared(each, pair, verbose=verbose, wide=wide, again=bool(number))


def _check_metrics(metrics: Sequence[str]) -> None:
    from gpubench.report.comparison.comparison_report import unknown_metrics

    wrong = unknown_metrics(metrics)
    if wrong:
        raise click.BadParameter(
            f"{wrong[0]!r} is not a metric that can get better or worse; `gpubench list metrics` names them",
            param_hint="--metric",
        )


def _kept(side: "Side", selection: str | None) -> "Side":
    if selection is None:
        return side
    from dataclasses import replace

    from gpubench.cli.gate.choose_sides import by_settings

    keeps = by_settings(selection)
    return replace(side, cases=tuple(case for case in side.cases if keeps(case)))


def _folders(runs: Sequence[str], run: "Run | None", store: Path, number: int) -> list[tuple[Path, Path]]:
    """Per comparison the folders of its two runs: where their profiles are. Arms of one run share theirs."""
    if run is not None:
        return [(run.folder, run.folder)] * number
    from gpubench.store.run_names import resolve_run

    folders = [resolve_run(name, store) for name in runs]
    return [(folders[0], folder) for folder in folders[1:]]
