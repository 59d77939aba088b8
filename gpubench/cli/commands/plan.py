"""`gpubench plan`: forecasts the cost of a verdict."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.shared_options import (
    complete_runs,
    complete_suites,
    json_option,
    select_option,
    set_option,
    share,
    store_option,
    wide_option,
)

if TYPE_CHECKING:
    from gpubench.runner.arms.arm import Level
    from gpubench.store.run_reader import Run

PILOT_ROUNDS = 6
MAX_ROUNDS = 24


@click.command(name="plan")
@click.argument("suite", metavar="[SUITE]", required=False, shell_complete=complete_suites)
@click.option("--sesoi", type=share, default="3%", show_default=True, help="Smallest change that matters.")
@click.option(
    "--pilot",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Use the noise of a stored run instead of measuring a pilot.",
)
@click.option(
    "--rounds", type=click.IntRange(3, 1000), default=PILOT_ROUNDS, show_default=True, help="Rounds of the pilot."
)
@click.option(
    "--max-rounds",
    type=click.IntRange(5, 10_000),
    default=MAX_ROUNDS,
    show_default=True,
    help="Maximum rounds for a verdict.",
)
@click.option(
    "--interleave",
    type=click.Choice(["block", "launch"]),
    help="How arms will alternate (default: the strongest way).",
)
@click.option("--all", "everything", is_flag=True, help="List the cases without a forecast, too.")
@set_option
@select_option
@json_option
@wide_option
@store_option
def command(
    suite: str | None,
    *,
    sesoi: float,
    pilot: str | None,
    rounds: int,
    max_rounds: int,
    interleave: "Level | None",
    overrides: tuple[str, ...],
    selection: str | None,
    everything: bool,
    as_json: bool,
    wide: bool,
    store: Path,
) -> None:
    """Estimate how many rounds and how long a verdict takes.

    Measures SUITE against itself for a few rounds. From their noise it forecasts, per case, the chance of finding a
    slow-down of --sesoi, the rounds until a verdict, and the time. More rounds make the forecast more certain.

    \b
    Examples:
      gpubench plan cnn --sesoi 2%
      gpubench plan cnn -k 'device=cuda' --rounds 10
      gpubench plan --pilot @last --sesoi 5%       from a stored run
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.compare.verdict_cost import plan
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.cli.open_run import open_run
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.cli.standing_verdicts import MANY_CASES
    from gpubench.report.comparison.json_documents import to_lines
    from gpubench.report.comparison.plan_screen import build_plan, plan_document
    from gpubench.report.render.result_screen import print_comparison

    if (suite is None) == (pilot is None):
        raise click.UsageError("Name a suite to measure, or a stored run with --pilot to use its noise.")
    if pilot is None:
        run = _pilot(
            suite or "", overrides, selection=selection, rounds=rounds, interleave=interleave, store=store, wide=wide
        )
    else:
        run = open_run(pilot, store)
        # Launches say nothing about the noise of alternating blocks of steps.
        selection, interleave = run.info.selection, "launch" if run.info.interleave == "launch" else None
    found = plan(run, CompareSettings(sesoi=sesoi, max_rounds=max_rounds), one_by_one=MANY_CASES)
    if as_json:
        sys.stdout.write(to_lines(plan_document(found, pilot=run.info.run)))
        return
    # The options that measure a comparison as the pilot was measured.
    asked = [word for override in overrides if pilot is None for word in ("-s", override)]
    if pilot is not None and any(word.partition("=")[0] == "--case" for word in run.info.argv):
        asked += [word for case in run.info.cases if case.kind == "measure" for word in ("--case", case.case_id)]
    asked += [] if selection is None else ["-k", selection]
    asked += [] if interleave is None else ["--interleave", interleave]
    model = build_plan(found, pilot=run.info.run, suite=suite or "SUITE", asked=asked, everything=everything)
    print_comparison(result_writer(wide=wide), model)


def _pilot(
    source: str,
    overrides: tuple[str, ...],
    *,
    selection: str | None,
    rounds: int,
    interleave: "Level | None",
    store: Path,
    wide: bool,
) -> "Run":
    """Measures the suite against itself: two arms that change nothing."""
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.cli.screens.run_progress import open_progress
    from gpubench.cli.standing_verdicts import Verdicts
    from gpubench.runner.arms.arm import Arm
    from gpubench.runner.run import RunRequest, start
    from gpubench.store.run_reader import load_run
    from gpubench.suite.load import load_suite

    request = RunRequest(
        load_suite(source, (*overrides, "quality=off")),
        selection=selection,
        store=store,
        tag=None,
        argv=("gpubench", *sys.argv[1:]),
        arms=(Arm("first"), Arm("second")),
        rounds=rounds,
        interleave=interleave,
    )
    # Equal arms get no verdict, but each needs its own row.
    verdicts = Verdicts([arm.name for arm in request.arms], rounds, CompareSettings())
    with open_progress(wide=wide, verdicts=verdicts) as progress:
        outcome = start(request, progress)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return load_run(outcome.folder)
