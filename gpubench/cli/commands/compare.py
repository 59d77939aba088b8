"""`gpubench compare`: stored runs, or the arms of one, case by case."""

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.screens.final_screen import print_compared, print_compared_json
from gpubench.cli.shared_options import (
    complete_runs,
    json_option,
    price,
    select_option,
    share,
    store_option,
    wide_option,
)

if TYPE_CHECKING:
    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.analysis.compare.machine_choice import MachineChoice
    from gpubench.analysis.compare.run_sides import Side
    from gpubench.store.run_reader import Run
    from gpubench.suite.machine_prices import Price


@click.command(name="compare")
@click.argument("runs", metavar="RUN [RUN...]", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--reference", metavar="ARM", help="The arm to compare the others with (default: the run's first).")
@select_option
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metric to compare (default: speed, memory, energy, score).",
)
@click.option("--sesoi", type=share, help="Smallest change that matters (default: 3%, or that of the run's arms).")
@click.option("--allow-unpaired", is_flag=True, help="Call stored runs slower or faster even if not interleaved.")
@click.option("--force", is_flag=True, help="Compare even if GPU, suite or settings differ.")
@click.option(
    "--machines",
    is_flag=True,
    help="Compare two machines that ran one suite: which is faster, needs less energy, costs less (with --price).",
)
@click.option(
    "--price",
    "hourly",
    multiple=True,
    type=price,
    metavar="X/h|FILE",
    help="What each machine costs, in the order of the runs (--price 2.5/h --price 4/h), or one file for both "
    "(default: the prices given to `run --price`).",
)
@click.option(
    "--why",
    is_flag=True,
    help="Profile both arms of each slower case in turn, and name the phases and operators that make it slower.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every row, with the reason for its verdict.")
@json_option
@wide_option
@store_option
@click.option(
    "--db",
    "database",
    metavar="URL",
    help="Runs are those of this database (`gpubench db --help`); $GPUBENCH_DB is ignored here.",
)
def command(
    runs: tuple[str, ...],
    *,
    reference: str | None,
    selection: str | None,
    metrics: tuple[str, ...],
    sesoi: float | None,
    allow_unpaired: bool,
    force: bool,
    machines: bool,
    hourly: "tuple[Price, ...]",
    why: bool,
    verbose: bool,
    as_json: bool,
    wide: bool,
    store: Path,
    database: str | None,
) -> None:
    """Compare runs, case by case.

    With one RUN, compares its arms, launch against launch of the same round: the strongest comparison. With several,
    each against the first. Differences in the environment come first, and runs that are not comparable are refused.
    Stored runs are never called slower or faster without --allow-unpaired: two sessions on one machine differ by 1 %
    or more even if nothing changed.

    With --db, runs are named as in the database (name, tag, @last) and read from the folders that it names; for a run
    whose folder is gone, the database is read instead.

    \b
    Examples:
      gpubench compare @last                     the arms of the last run
      gpubench compare @last --why               what makes an arm slower
      gpubench compare before after -v           two runs by tag, with reasons
      gpubench compare a100 h100 --machines --price 1.8/h --price 2.9/h
      gpubench compare @last~1 @last -k 'device=cuda' --json
      gpubench compare @last~1 @last --db sqlite:///runs.db
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.compare.compare_sides import COMPARED, compare_sides, refuse
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.cli.gate.choose_sides import kept_sides, sides_to_compare
    from gpubench.cli.why import explain_found
    from gpubench.core.metrics import SESOI
    from gpubench.store.run_names import resolve_run

    _check_metrics(metrics)
    _check_machines(len(runs), hourly, machines=machines)
    run: Run | None = None
    folders: list[Path] = []
    if database is None:
        first, others, run = sides_to_compare(runs, store, reference)
    else:
        first, others, folders = kept_sides(runs, database)
    settings = CompareSettings(sesoi=sesoi or (run and run.info.sesoi) or SESOI)
    first, others = _kept(first, selection), tuple(_kept(side, selection) for side in others)
    found = [
        compare_sides(first, side, metrics or COMPARED, settings, allow_unpaired=allow_unpaired, machines=machines)
        for side in others
    ]
    for each in found:
        refuse(each, force=force)
    answers = explain_found(run, found, force=force) if why else None
    if as_json:
        print_compared_json(found, answers, _choice(found[0], hourly) if machines else None)
        return
    # Where the profiles of both sides are: arms of one run share its folder.
    folders = folders or [resolve_run(name, store) for name in runs]
    for number, (each, folder) in enumerate(zip(found, folders[1:] or folders * len(found), strict=True)):
        said = answers[number] if answers is not None else None
        choice = _choice(each, hourly) if machines else None
        print_compared(
            each, (folders[0], folder), verbose=verbose, wide=wide, again=bool(number), why=said, choice=choice
        )


def _check_metrics(metrics: tuple[str, ...]) -> None:
    from gpubench.core.did_you_mean import near_aside
    from gpubench.core.metrics import METRICS
    from gpubench.report.comparison.comparison_report import unknown_metrics

    for wrong in unknown_metrics(metrics):
        meant = near_aside(wrong, METRICS)
        message = f"{wrong!r} is not a metric that can get better or worse{meant}; `gpubench list metrics` names them"
        raise click.BadParameter(message, param_hint="--metric")


def _check_machines(num_runs: int, hourly: "tuple[Price, ...]", *, machines: bool) -> None:
    if hourly and not machines:
        raise click.UsageError("--price needs --machines: arms share one machine, so an hour costs the same for each.")
    if machines and num_runs != 2:
        raise click.UsageError(f"--machines compares two runs, one from each machine; got {num_runs}.")
    one_file = len(hourly) == 1 and hourly[0].path is not None
    if machines and len(hourly) not in (0, 2) and not one_file:
        raise click.UsageError(
            "Give --price once for each of the two machines (--price 2.5/h --price 4/h), or one file with both."
        )


def _choice(compared: "Compared", given: "tuple[Price, ...]") -> "MachineChoice":
    from gpubench.analysis.compare.machine_choice import choose_machine

    sides = (compared.reference, compared.candidate)
    each = given * 2 if len(given) == 1 else given or (None, None)
    first, second = (
        side.price_per_hour if price is None else price.of(side.machine_names)
        for side, price in zip(sides, each, strict=True)
    )
    return choose_machine(compared, None if first is None or second is None else (first, second))


def _kept(side: "Side", selection: str | None) -> "Side":
    if selection is None:
        return side
    from dataclasses import replace

    from gpubench.cli.gate.choose_sides import by_settings

    keeps = by_settings(selection)
    return replace(side, cases=tuple(case for case in side.cases if keeps(case)))
