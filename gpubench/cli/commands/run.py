"""`gpubench run`: measure a suite and store the results."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.print_errors import say, say_warning
from gpubench.cli.run_arms import AskedArms, arms_again
from gpubench.cli.run_options import check_options, overrides_of, repeats_value
from gpubench.cli.shared_options import (
    complete_runs,
    complete_suites,
    input_option,
    json_option,
    loss_option,
    model_settings,
    price_here,
    price_option,
    seconds,
    select_option,
    set_option,
    share,
    sink_option,
    store_option,
    tag_option,
    wide_option,
)
from gpubench.core.errors import ExitStatus

if TYPE_CHECKING:
    from gpubench.cli.run_ending import RunEnding
    from gpubench.cli.standing_verdicts import Verdicts
    from gpubench.runner.run import RunRequest
    from gpubench.runner.run_session import Decisions
    from gpubench.suite.load import LoadedSuite
    from gpubench.suite.machine_prices import Price


@click.command(name="run")
@click.argument("suite", metavar="SUITE|TARGET", required=False, shell_complete=complete_suites)
@set_option
@input_option
@loss_option
@select_option
@click.option(
    "--case", "cases", multiple=True, metavar="ID", help="Only this case: its id, the start of its id, or its label."
)
@click.option("-n", "--dry-run", is_flag=True, help="Show cases, skips and a time estimate; measure nothing.")
@click.option("--all", "everything", is_flag=True, help="With --dry-run: list the cases that cannot run here, too.")
@click.option(
    "--repeats",
    callback=repeats_value,
    metavar="N",
    help="Launches per case, each in its own process: a number, 3..12 (until the interval is narrow enough), or auto.",
)
@click.option("--no-contest", is_flag=True, help="Do not let cases take turns in one process after their launches.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME='..'",
    help="A side of an A/B; the first is the reference. Give two or more: "
    "python=PATH, env.NAME=VALUE, git=REV, set.SETTING=VALUE.",
)
@click.option(
    "--interleave",
    type=click.Choice(["block", "launch"]),
    help="How arms take turns: blocks of steps in one process, or launches (default: blocks if the arms allow them).",
)
@click.option(
    "--rounds",
    type=click.IntRange(5, 1000),
    metavar="N",
    help="With arms: at most N rounds per case (24; at least 16 with more than 16 cases). Decided cases stop earlier.",
)
@click.option(
    "--sesoi", type=share, help="With arms: the smallest change that matters (3%; with --resume, that of the run)."
)
@click.option("--budget", callback=seconds, metavar="TIME", help="Stop after this long (20m), and list what is left.")
@click.option(
    "--at-once",
    type=click.IntRange(1),
    metavar="N",
    help="Finish N cases before the next N, so that a --budget leaves complete cases.",
)
@click.option(
    "--timeout", callback=seconds, metavar="TIME", help="Stop a launch that takes longer than this (status `timeout`)."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the launch order (default: random, and recorded)."
)
@store_option
@click.option(
    "--engine",
    type=click.Choice(["local", "slurm", "mpi", "ray", "env"]),
    help="Measure on several machines: what starts gpubench there (default: the suite's `cluster`).",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder for this run.")
@tag_option
@click.option(
    "--resume",
    "resumed",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Continue a stored run: measure what is missing.",
)
@click.option("--force", is_flag=True, help="With --resume: continue even if code, variables or the machine changed.")
@click.option(
    "--trust", is_flag=True, help="With --resume: allow a run from another user or machine to start its code."
)
@click.option(
    "--baseline",
    metavar="REF",
    shell_complete=complete_runs,
    help="A stored run or a baseline file to compare with at the end.",
)
@click.option("--download", is_flag=True, help="Allow data sets to be downloaded into their `data_root`.")
@click.option("--no-oom-skip", is_flag=True, help="Measure larger batches even after a smaller one ran out of memory.")
@click.option("--anonymous", is_flag=True, help="Leave out host name and folders, and hash UUIDs.")
@click.option(
    "--strict", is_flag=True, help="Exit 4 if the machine is not fit for measuring, before or during the run."
)
@click.option("--allow-empty", is_flag=True, help="Exit 0 even if no case gave a valid figure.")
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report into the run folder.")
@price_option
@sink_option("--export", "Send the run there when it has ended", envvar="GPUBENCH_EXPORT")
@json_option
@wide_option
@click.pass_context
def command(
    ctx: click.Context,
    suite: str | None,
    *,
    overrides: tuple[str, ...],
    inputs: tuple[str, ...],
    loss: str | None,
    selection: str | None,
    cases: tuple[str, ...],
    dry_run: bool,
    everything: bool,
    repeats: str | None,
    no_contest: bool,
    budget: float | None,
    at_once: int | None,
    arms: tuple[str, ...],
    interleave: str | None,
    rounds: int | None,
    sesoi: float | None,
    timeout: float | None,
    seed: int | None,
    store: Path,
    engine: str | None,
    out: Path | None,
    tag: str | None,
    resumed: str | None,
    force: bool,
    trust: bool,
    baseline: str | None,
    download: bool,
    no_oom_skip: bool,
    anonymous: bool,
    strict: bool,
    allow_empty: bool,
    report: bool,
    price: "Price | None",
    sinks: tuple[str, ...],
    as_json: bool,
    wide: bool,
) -> int:
    """Run a suite and store the results.

    SUITE is a file, or the name of a suite that ships with gpubench (`gpubench list`). TARGET is a model:
    torchvision:NAME, or your own as FILE.py:NAME or MODULE:NAME, an nn.Module class or a function that returns one.
    Every launch of a case runs in a separate process; settings are read back; a case that cannot run here becomes a row
    with the reason. Ctrl-C ends the running step and stores it; a second Ctrl-C stops at once. Nothing measured so far
    is lost.

    \b
    Examples:
      gpubench run cnn-smoke                              a first run, under a minute
      gpubench run cnn --dry-run                          what would run here
      gpubench run torchvision:resnet18 -s precision=fp32,amp-bf16
      gpubench run mymodel.py:Net --input 3x64x64 -s batch_size=16,64
      gpubench run mymodel.py:Bert --input tokens=int30000:128 --input mask=bool:128
      gpubench run cnn -s device=cuda -s batch_size=64,256 -k 'mode=train'
      gpubench run cnn --case 9c41d6                      one case, by the start of its id
      gpubench run cnn --budget 20m --tag before          named, and at most 20 minutes
      gpubench run --resume before                        measure what is missing
      gpubench run scaling --engine slurm                 on the nodes of this allocation
      gpubench run cnn --baseline before                  and what changed since
      gpubench run cnn --price 2.5/h                      and what samples cost
      gpubench run cnn --arm base= --arm head=set.precision=amp-bf16 -s device=cuda -s precision=fp32
      gpubench run suites/mine.yaml --arm base=git=main --arm head=git=HEAD
    """  # noqa: D301 - click looks for the character itself
    asked = AskedArms(arms, interleave, rounds, sesoi)
    check_options(ctx.params, asked)
    from gpubench.cli.exports import checked_sinks
    from gpubench.cli.gate.choose_sides import stored_side
    from gpubench.cli.run_ending import RunEnding
    from gpubench.runner.nodes.open_cluster import become_a_node
    from gpubench.runner.run import RunRequest

    # Read before measuring: `@last` is then the previous run, and a wrong name costs no time.
    against = None if baseline is None else stored_side(baseline, store)
    exports = checked_sinks(sinks)
    ending = RunEnding(strict, report, as_json, wide, asked, against, allow_empty=allow_empty, exports=exports)
    if resumed is not None:
        return _resume(
            resumed,
            store,
            ending,
            budget=budget,
            at_once=at_once,
            download=download,
            oom_skip=not no_oom_skip,
            force=force,
            trust=trust,
        )
    overrides += overrides_of(repeats=repeats, no_contest=no_contest, timeout=timeout, engine=engine)
    loaded = _load(suite or "", overrides + model_settings(inputs, loss))
    hourly = price_here(price, loaded.suite)
    if become_a_node(loaded.suite.cluster, per_card=loaded.suite.fleet is not None):
        return ExitStatus.OK
    request = RunRequest(
        loaded,
        argv=("gpubench", *sys.argv[1:]),
        selection=selection,
        cases=cases,
        store=store,
        out=out,
        tag=tag,
        seed=seed,
        budget_s=budget,
        at_once=at_once,
        download=download,
        skip_after_oom=not no_oom_skip,
        anonymous=anonymous,
        price_per_hour=hourly,
    )
    request = replace(request, **asked.fields(loaded, len(request.wanted())))
    return _dry_run(request, as_json=as_json, wide=wide, everything=everything) if dry_run else _run(request, ending)


def _load(source: str, overrides: Sequence[str]) -> "LoadedSuite":
    """Imports the target, if `source` is one, and prints warnings."""
    from gpubench.runner.check_workloads import check_target
    from gpubench.suite.load import load_suite

    loaded = load_suite(source, overrides)
    if loaded.target is not None:
        click.echo(f"importing {loaded.target} ...", err=True)
        check_target(loaded, say)
    for warning in loaded.warnings:
        say_warning(warning)
    return loaded


def _decisions(verdicts: "Verdicts | None") -> "Decisions":
    from gpubench.analysis.fleet.judge_run import suspects_of
    from gpubench.analysis.insight.paired_ratios import still_wanted
    from gpubench.runner.run_session import Decisions

    return Decisions(settled=verdicts, still_wanted=still_wanted, suspects=suspects_of)


def _run(request: "RunRequest", ending: "RunEnding") -> int:
    from gpubench.cli.screens.run_progress import open_progress
    from gpubench.runner.run import start

    names = [arm.name for arm in request.arms]
    verdicts = ending.arms.verdicts(names, request.rounds or 0, request.screen_rounds)
    with open_progress(wide=ending.wide, verdicts=verdicts) as progress:
        outcome = start(request, progress, _decisions(verdicts), before=ending.before)
    return ending.after(outcome, request.store)


def _resume(
    reference: str,
    store: Path,
    ending: "RunEnding",
    *,
    budget: float | None,
    at_once: int | None,
    download: bool,
    oom_skip: bool,
    force: bool,
    trust: bool,
) -> int:
    from gpubench.cli.screens.run_progress import open_progress
    from gpubench.runner.run import ResumeRequest, resume
    from gpubench.runner.stored_run import check_own, place_of
    from gpubench.store.run_names import resolve_run
    from gpubench.store.run_reader import load_info

    folder = resolve_run(reference, store)
    info = load_info(folder)
    if info.tune is not None:
        raise click.UsageError(f"run {info.run} is a search: gpubench tune --resume {reference} continues it.")
    if info.arms and ending.baseline is not None:
        raise click.UsageError(
            "--baseline cannot be combined with a run that has arms: they are compared with the first one."
        )
    check_own(info, trust=trust)
    request = ResumeRequest(
        folder,
        budget_s=budget,
        at_once=at_once,
        download=download,
        skip_after_oom=oom_skip,
        arms=arms_again(info, place_of(info).folder),
        force=force,
        trust=trust,
    )
    verdicts = ending.arms.verdicts([arm.name for arm in info.arms], info.repeats, info.screen_rounds, info.sesoi)
    with open_progress(wide=ending.wide, verdicts=verdicts) as progress:
        outcome = resume(request, progress, _decisions(verdicts), before=ending.before)
    return ending.after(outcome, store)


def _dry_run(request: "RunRequest", *, as_json: bool, wide: bool, everything: bool) -> int:
    """Exit status 3, like the run's, if a case would fail because its workload is missing."""
    import tempfile

    from gpubench.cli.screens.dry_run_screen import print_plan, without_workload
    from gpubench.runner.run import preview

    click.echo("asking the worker what this machine can do ...", err=True)
    with tempfile.TemporaryDirectory(prefix="gpubench-") as folder:
        began = time.monotonic()
        planned = preview(request, Path(folder) / "host.log")
        started_s = time.monotonic() - began
    # A target was checked already, and arms with their own interpreter find workloads themselves.
    if request.loaded.target is None and not any(arm.python for arm in request.arms):
        planned = without_workload(request.loaded, planned)
    print_plan(
        request.loaded,
        planned,
        host_s=started_s,
        as_json=as_json,
        wide=wide,
        num_arms=len(request.arms) or 1,
        rounds=request.rounds,
        everything=everything,
    )
    return ExitStatus.CASE_FAILED if any(case.skip_status == "failed" for case in planned) else ExitStatus.OK
