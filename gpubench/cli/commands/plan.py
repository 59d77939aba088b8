"""`gpubench plan`: what a verdict will cost."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.shared_options import complete_runs, complete_suites, json_option, share, store_option, wide_option

if TYPE_CHECKING:
    from gpubench.runner.run import RunRequest
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
    help="Take the noise from a stored run instead of measuring a pilot.",
)
@click.option(
    "--rounds", type=click.IntRange(3, 1000), default=PILOT_ROUNDS, show_default=True, help="Rounds of the pilot."
)
@click.option(
    "--max-rounds",
    type=click.IntRange(6, 10_000),
    default=MAX_ROUNDS,
    show_default=True,
    help="The most rounds a verdict may take.",
)
@click.option(
    "--interleave",
    type=click.Choice(["block", "launch"]),
    help="How the arms will take turns (default: the strongest way).",
)
@click.option("-s", "--set", "overrides", multiple=True, metavar="AXIS=V,..", help="Replace an axis or setting.")
@click.option("-k", "selection", metavar="EXPR", help="Only cases that match: 'precision=amp-bf16 and batch_size>=64'.")
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
    interleave: str | None,
    overrides: tuple[str, ...],
    selection: str | None,
    as_json: bool,
    wide: bool,
    store: Path,
) -> None:
    """How many rounds and minutes a verdict will cost.

    A pilot measures SUITE against itself for a few rounds; from the noise of its rounds follow, per case, the chance to
    find a slow-down of --sesoi, the rounds until a verdict, and the time. More pilot rounds make the forecast surer.

    \b
    Examples:
      gpubench plan suites/cnn.yaml --sesoi 2%
      gpubench plan cnn -k 'device=cuda' --rounds 10
      gpubench plan --pilot @last --sesoi 5%       from a run that is there already
    """  # noqa: D301 - click looks for the character itself
    from gpubench.analysis.compare.verdict_cost import plan
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.cli.standing_verdicts import MANY_CASES

    if (suite is None) == (pilot is None):
        raise click.UsageError("Name a suite to measure a pilot of, or the --pilot run to take the noise from.")
    run = (
        _stored(pilot, store)
        if pilot is not None
        else _measured(_request(suite or "", overrides, selection, rounds, interleave, store), wide=wide)
    )
    found = plan(run, CompareSettings(sesoi=sesoi, max_rounds=max_rounds), one_by_one=MANY_CASES)
    asked = _asked(overrides, selection, interleave) if pilot is None else _as_measured(run)
    _print(found, run.info.run, suite or "SUITE", asked, as_json=as_json, wide=wide)


def _asked(overrides: Sequence[str], selection: str | None, interleave: str | None) -> list[str]:
    """The options that a comparison takes as the pilot took them."""
    chosen = [] if selection is None else ["-k", selection]
    turns = [] if interleave is None else ["--interleave", interleave]
    return [word for override in overrides for word in ("-s", override)] + chosen + turns


def _as_measured(run: "Run") -> list[str]:
    """What a stored pilot knows of how it was measured. Launches that took turns forecast nothing of blocks of steps."""
    named = any(word.partition("=")[0] == "--case" for word in run.info.argv)
    cases = [word for case in run.info.cases if named and case.kind == "measure" for word in ("--case", case.case_id)]
    return cases + _asked((), run.info.selection, "launch" if run.info.interleave == "launch" else None)


def _stored(reference: str, store: Path) -> "Run":
    from gpubench.cli.open_run import open_run

    return open_run(reference, store)


def _request(
    source: str, overrides: tuple[str, ...], selection: str | None, rounds: int, interleave: str | None, store: Path
) -> "RunRequest":
    """The suite against itself: two arms that change nothing."""
    from gpubench.runner.arms.arm import Arm
    from gpubench.runner.run import RunRequest
    from gpubench.suite.load import load_suite

    loaded = load_suite(source, (*overrides, "quality=off"))
    return RunRequest(
        loaded,
        selection=selection,
        store=store,
        tag=None,
        argv=("gpubench", *sys.argv[1:]),
        arms=(Arm("first"), Arm("second")),
        rounds=rounds,
        interleave="block" if interleave == "block" else "launch" if interleave == "launch" else None,
    )


def _measured(request: "RunRequest", *, wide: bool) -> "Run":
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.cli.screens.run_progress import open_progress
    from gpubench.cli.standing_verdicts import Verdicts
    from gpubench.runner.run import start
    from gpubench.store.run_reader import load_run

    # Nobody asks them: of two arms that are the same there is no verdict, and their launches must not share a row.
    verdicts = Verdicts([arm.name for arm in request.arms], request.rounds or 0, CompareSettings())
    with open_progress(wide=wide, verdicts=verdicts) as progress:
        outcome = start(request, progress)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return load_run(outcome.folder)


def _print(found: object, pilot: str, suite: str, asked: Sequence[str], *, as_json: bool, wide: bool) -> None:
    from gpubench.analysis.compare.verdict_cost import VerdictPlan
    from gpubench.cli.screens.comparison_screen import print_comparison
    from gpubench.cli.screens.final_screen import result_writer
    from gpubench.report.comparison.json_documents import to_lines
    from gpubench.report.comparison.plan_screen import build_plan, plan_document

    assert isinstance(found, VerdictPlan)
    if as_json:
        sys.stdout.write(to_lines(plan_document(found, pilot=pilot)))
    else:
        print_comparison(result_writer(wide=wide), build_plan(found, pilot=pilot, suite=suite, asked=asked))
