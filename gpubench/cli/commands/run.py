"""`gpubench run`: measure a suite and store the results."""

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from gpubench.cli.run_arms import AskedArms, arms_again
from gpubench.cli.run_baseline import open_baseline, print_against
from gpubench.cli.shared_options import (
    complete_runs,
    complete_suites,
    json_option,
    seconds,
    select_option,
    share,
    store_option,
    wide_option,
)
from gpubench.core.errors import ExitStatus, MachineUnfitError

if TYPE_CHECKING:
    from gpubench.analysis.compare.run_sides import Side
    from gpubench.runner.run import RunOutcome, RunRequest
    from gpubench.store.run_info import RunInfo
    from gpubench.store.run_reader import Run


_TAG = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def _tag(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """What other commands can tell from a path, `@last` and `run:case`."""
    if value is not None and not _TAG.fullmatch(value):
        raise click.BadParameter(
            f"a tag is made of letters, digits, '.', '-' and '_', and begins with a letter or digit; got {value!r}",
            ctx,
            param,
        )
    return value


@click.command(name="run")
@click.argument("suite", metavar="SUITE", required=False, shell_complete=complete_suites)
@click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="AXIS=V,..",
    help="Replace an axis or setting: batch_size=64,256, device=cpu, measure.max_time=5s, quality=off.",
)
@select_option
@click.option(
    "--case", "cases", multiple=True, metavar="ID", help="Only this case: its id, the beginning of it, or its label."
)
@click.option("-n", "--dry-run", is_flag=True, help="Show cases, skips and a time estimate; measure nothing.")
@click.option("--repeats", type=click.IntRange(1, 1000), help="Launches per case, each in its own process.")
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
    type=click.IntRange(1, 1000),
    metavar="N",
    help="With arms: at most N rounds per case (24; the suite's repeats do not count). Decided cases stop earlier.",
)
@click.option(
    "--sesoi", type=share, help="With arms: the smallest change that matters (3%; with --resume, that of the run)."
)
@click.option("--budget", callback=seconds, metavar="TIME", help="Stop after this long (20m); what is left is listed.")
@click.option("--timeout", callback=seconds, metavar="TIME", help="End a launch that takes longer (status timeout).")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the launch order; drawn and recorded if not given."
)
@store_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder for this run.")
@click.option("--tag", callback=_tag, metavar="NAME", help="A name by which other commands find the run.")
@click.option(
    "--resume", "resumed", metavar="RUN", shell_complete=complete_runs, help="Measure what a stored run still lacks."
)
@click.option(
    "--baseline",
    metavar="REF",
    shell_complete=complete_runs,
    help="A stored run or a baseline file: what changed since is printed at the end.",
)
@click.option("--download", is_flag=True, help="Let data sets be downloaded into their `data_root`.")
@click.option("--no-oom-skip", is_flag=True, help="Measure larger batches even after a smaller one ran out of memory.")
@click.option("--anonymous", is_flag=True, help="Leave out the host name and hash UUIDs.")
@click.option(
    "--strict", is_flag=True, help="Exit 4 if the machine is not fit for measuring, before or during the run."
)
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report into the run folder.")
@json_option
@wide_option
def command(
    suite: str | None,
    *,
    overrides: tuple[str, ...],
    selection: str | None,
    cases: tuple[str, ...],
    dry_run: bool,
    repeats: int | None,
    budget: float | None,
    arms: tuple[str, ...],
    interleave: str | None,
    rounds: int | None,
    sesoi: float | None,
    timeout: float | None,
    seed: int | None,
    store: Path,
    out: Path | None,
    tag: str | None,
    resumed: str | None,
    baseline: str | None,
    download: bool,
    no_oom_skip: bool,
    anonymous: bool,
    strict: bool,
    report: bool,
    as_json: bool,
    wide: bool,
) -> int:
    """Run a suite and store the results.

    SUITE is a file, or the name of a suite that ships with gpubench (`gpubench list`). Every launch of a case runs in a
    separate process; settings are read back; a case that cannot run here becomes a row with the reason. Ctrl-C ends
    the running step and stores it; a second Ctrl-C stops at once. Nothing measured so far is lost.

    \b
    Examples:
      gpubench run cnn-smoke                              a first run, under a minute
      gpubench run suites/cnn.yaml --dry-run              what would run here
      gpubench run cnn -s device=cuda -s batch_size=64,256 -k 'mode=train'
      gpubench run cnn --case 9c41d6                      one case, by the beginning of its id
      gpubench run cnn --budget 20m --tag before          named, and at most 20 minutes
      gpubench run --resume before                        what is missing of it
      gpubench run cnn --baseline before                  and what changed since
      gpubench run cnn --arm base= --arm head=set.precision=amp-bf16 -s device=cuda -s precision=fp32
      gpubench run suites/mine.yaml --arm base=git=main --arm head=git=HEAD
    """  # noqa: D301 - click looks for the character itself
    _check_use(suite, resumed, overrides, selection, cases, dry_run=dry_run)
    _check_resumed(resumed, {"--tag": tag, "--seed": seed, "--out": out, "--repeats": repeats, "--timeout": timeout})
    asked = AskedArms(arms, interleave, rounds, sesoi)
    asked.check_use(repeats=repeats, resumed=resumed is not None)
    against = open_baseline(baseline, store, arms=bool(arms), as_json=as_json)
    ending = _Ending(strict, report, as_json, wide, asked, against)
    if resumed is not None:
        return _resume(resumed, store, ending, budget=budget, download=download, oom_skip=not no_oom_skip)
    request = _request(
        suite or "",
        _all_overrides(overrides, repeats, timeout),
        asked,
        selection=selection,
        cases=cases,
        store=store,
        out=out,
        tag=tag,
        seed=seed,
        budget_s=budget,
        download=download,
        skip_after_oom=not no_oom_skip,
        anonymous=anonymous,
    )
    if dry_run:
        return _dry_run(request, as_json=as_json, wide=wide)
    return _run(request, ending)


def _check_use(
    suite: str | None,
    resumed: str | None,
    overrides: tuple[str, ...],
    selection: str | None,
    cases: tuple[str, ...],
    *,
    dry_run: bool,
) -> None:
    if (suite is None) == (resumed is None):
        raise click.UsageError("Name a suite to run, or a run to --resume.")
    if resumed is not None and (overrides or selection or cases or dry_run):
        raise click.UsageError("--resume cannot be combined with -s, -k, --case or --dry-run.")
    if selection is not None and cases:
        raise click.UsageError("-k and --case exclude each other.")


def _check_resumed(resumed: str | None, planned: Mapping[str, object]) -> None:
    given = [option for option, value in planned.items() if value is not None]
    if resumed is not None and given:
        raise click.UsageError(f"--resume goes on with the run as it was planned: {given[0]} does not go with it.")


def _all_overrides(overrides: tuple[str, ...], repeats: int | None, timeout: float | None) -> tuple[str, ...]:
    extra = [f"measure.repeats={repeats}"] if repeats is not None else []
    extra += [f"measure.timeout={timeout}"] if timeout is not None else []
    return (*overrides, *extra)


def _request(source: str, overrides: tuple[str, ...], arms: AskedArms, **asked: Any) -> "RunRequest":
    from gpubench.runner.run import RunRequest, num_cases
    from gpubench.suite.load import load_suite

    loaded = load_suite(source, overrides)
    for warning in loaded.warnings:
        click.echo(str(warning), err=True)
    request = RunRequest(loaded, argv=("gpubench", *sys.argv[1:]), **asked)
    return replace(request, **arms.fields(loaded, num_cases(request)))


class _Ending:
    """What is done with a run that is over, and the exit status it gives."""

    def __init__(
        self, strict: bool, report: bool, as_json: bool, wide: bool, arms: AskedArms, baseline: "Side | None"
    ) -> None:
        self.strict, self.report, self.as_json, self.wide = strict, report, as_json, wide
        self.arms, self.baseline = arms, baseline

    def before(self, info: "RunInfo") -> None:
        """Before the first launch: `--strict` refuses a machine that is not fit."""
        if not self.strict:
            return
        from gpubench.machine.doctor.examination import unfit_rows

        uses_gpu = any(planned.case.device_type == "cuda" for planned in info.cases)
        bad = unfit_rows(info.environment, uses_gpu=uses_gpu)
        if bad:
            raise MachineUnfitError(
                f"this machine is not fit for measuring: {'; '.join(bad)}",
                hint="`gpubench doctor` says what to do; without --strict the run goes on.",
            )

    def after(self, outcome: "RunOutcome", store: Path) -> int:
        """The run is summarised once, and its report is built once, for the file and for the screen."""
        from gpubench.analysis.summary.run_summary import summarise_run
        from gpubench.cli.open_run import shown_name
        from gpubench.report.write import keep_ceilings, report_of, write_both
        from gpubench.store.run_reader import load_run

        stored = load_run(outcome.folder)
        name = shown_name(stored.folder, store)
        if stored.info.arms:
            return self._after_arms(stored, name, interrupted=outcome.interrupted)
        summary = summarise_run(stored)
        keep_ceilings(summary)
        model = report_of(stored, name, summary) if self.report else None
        written = None if model is None else write_both(model, stored.folder)
        if self.as_json:
            from gpubench.report.render.json_document import run_document, to_json

            sys.stdout.write(to_json(run_document(summary, folder=str(stored.folder))))
            return self._status(stored, interrupted=outcome.interrupted)

        from gpubench.cli.screens.final_screen import final_screen, result_writer
        from gpubench.report.build import build_report
        from gpubench.report.view.run_view import View

        writer = result_writer(wide=self.wide)
        writer.blank()
        final_screen(writer, model or build_report(View(summary, name=name), pages=False))
        writer.blank()
        if self.baseline is not None:
            print_against(self.baseline, stored, summary, wide=self.wide)
            writer.blank()
        _print_next(stored, name, written, interrupted=outcome.interrupted)
        return self._status(stored, interrupted=outcome.interrupted)

    def _after_arms(self, stored: "Run", name: str, *, interrupted: bool) -> int:
        """A run with arms is a comparison, and ends as one. Each arm is summarised once."""
        from gpubench.analysis.summary.run_summary import summarise_run
        from gpubench.cli.run_arms import print_verdicts
        from gpubench.report.comparison.versus import arms_report
        from gpubench.report.write import write_both

        summaries = {arm.name: summarise_run(stored, arm=arm.name) for arm in stored.info.arms}
        written = write_both(arms_report(stored, summaries=summaries), stored.folder) if self.report else None
        if not self.as_json:
            click.echo()
        print_verdicts(stored, summaries, self.arms.sesoi, as_json=self.as_json, wide=self.wide)
        if not self.as_json:
            click.echo()
            _print_next(stored, name, written, interrupted=interrupted)
        return self._status(stored, interrupted=interrupted)

    def _status(self, stored: "Run", *, interrupted: bool) -> int:
        from gpubench.core.findings import unfit
        from gpubench.core.records import CRASHED

        if interrupted:
            return ExitStatus.INTERRUPTED
        codes = {entry.code for record in stored.records for entry in record.findings}
        if self.strict and unfit(codes):
            found = ", ".join(unfit(codes))
            raise MachineUnfitError(
                f"the run is stored, and the machine was not fit while it was measured: {found}",
                hint=f"`gpubench list findings {unfit(codes)[0]}` explains.",
            )
        ended = {record.status for record in stored.records} | {case.skip_status for case in stored.info.cases}
        return ExitStatus.CASE_FAILED if ended & CRASHED else ExitStatus.OK


def _print_next(stored: "Run", name: str, written: Path | None, *, interrupted: bool) -> None:
    """Where the run is, and what to type next."""
    lines = [f"Run     {stored.folder}"]
    if written is not None:
        lines.append(f"Report  {written}")
    if interrupted:
        lines.append(f"Next    gpubench run --resume {name}      measures what is missing")
    elif stored.info.arms:
        lines += [
            f"Next    gpubench compare {name} -v   every row with its reason",
            f"        gpubench check {name}        the gate: exit 1 if a limit is broken",
        ]
    else:
        lines += [
            f"Next    gpubench show {name}:1       one case in full",
            f"        gpubench show {name} --all   every section",
        ]
    for each in lines:
        click.echo(each)


def _run(request: "RunRequest", ending: _Ending) -> int:
    from gpubench.cli.screens.run_progress import open_progress
    from gpubench.runner.run import start

    names = [arm.name for arm in request.arms]
    verdicts = ending.arms.verdicts(names, request.rounds or 0, request.screen_rounds)
    with open_progress(wide=ending.wide, verdicts=verdicts) as progress:
        outcome = start(request, progress, before=ending.before, settled=verdicts)
    return ending.after(outcome, request.store)


def _resume(
    reference: str, store: Path, ending: _Ending, *, budget: float | None, download: bool, oom_skip: bool
) -> int:
    from gpubench.cli.screens.run_progress import open_progress
    from gpubench.runner.run import ResumeRequest, resume
    from gpubench.store.run_names import resolve_run
    from gpubench.store.run_reader import load_info

    folder = resolve_run(reference, store)
    info = load_info(folder)
    if info.arms and ending.baseline is not None:
        raise click.UsageError("A run with arms is held against its first one: --baseline does not go with it.")
    request = ResumeRequest(folder, budget_s=budget, download=download, skip_after_oom=oom_skip, arms=arms_again(info))
    verdicts = ending.arms.verdicts([arm.name for arm in info.arms], info.repeats, info.screen_rounds, info.sesoi)
    with open_progress(wide=ending.wide, verdicts=verdicts) as progress:
        outcome = resume(request, progress, before=ending.before, settled=verdicts)
    return ending.after(outcome, store)


def _dry_run(request: "RunRequest", *, as_json: bool, wide: bool) -> int:
    import tempfile

    from gpubench.cli.screens.dry_run_screen import print_plan
    from gpubench.runner.run import preview

    click.echo("asking the worker what this machine can do ...", err=True)
    with tempfile.TemporaryDirectory(prefix="gpubench-") as folder:
        began = time.monotonic()
        planned = preview(request, Path(folder) / "host.log")
        started_s = time.monotonic() - began
    print_plan(
        request.loaded,
        planned,
        host_s=started_s,
        as_json=as_json,
        wide=wide,
        num_arms=len(request.arms) or 1,
        rounds=request.rounds,
    )
    return ExitStatus.OK
