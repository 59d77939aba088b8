"""`gpubench tune`: searches the fastest correct settings of a model."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from gpubench.cli.print_errors import say
from gpubench.cli.shared_options import (
    complete_runs,
    complete_suites,
    input_option,
    loss_option,
    model_settings,
    price_here,
    price_option,
    seconds,
    set_option,
    store_option,
    tag_option,
)
from gpubench.core.errors import ExitStatus

if TYPE_CHECKING:
    from gpubench.analysis.tuning.tuned_run import TunedRun
    from gpubench.cli.tune_search import TuneSearch
    from gpubench.runner.run import RunOutcome
    from gpubench.store.run_info import RunInfo
    from gpubench.store.run_reader import Run
    from gpubench.suite.machine_prices import Price

SUITE_NAME = "tuned.yaml"


@click.command(name="tune")
@click.argument("target", metavar="TARGET|SUITE", required=False, shell_complete=complete_suites)
@set_option
@click.option("--axis", "axes", multiple=True, metavar="SETTING", help="Only try this setting; repeat for more.")
@input_option
@loss_option
@click.option(
    "--objective",
    type=click.Choice(["speed", "energy", "cost"]),
    default="speed",
    show_default=True,
    help="What is best: samples per second, per joule (needs a meter) or per unit of money (needs --price).",
)
@price_option
@click.option(
    "--budget", callback=seconds, default="10m", show_default=True, metavar="TIME", help="Stop after this long."
)
@click.option("--quality", is_flag=True, help="Also train the best setting on real data, and compare its score.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the search and its order (default: random).")
@store_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder for this run.")
@tag_option
@click.option("--resume", "resumed", metavar="RUN", shell_complete=complete_runs, help="Continue a stored search.")
@click.option("--force", is_flag=True, help="With --resume: continue even if code, variables or the machine changed.")
@click.option(
    "--trust", is_flag=True, help="With --resume: allow a run from another user or machine to start its code."
)
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report into the run folder.")
@click.option("--download", is_flag=True, help="Allow data sets to be downloaded into their `data_root`.")
def command(
    target: str | None,
    *,
    overrides: tuple[str, ...],
    axes: tuple[str, ...],
    inputs: tuple[str, ...],
    loss: str | None,
    objective: str,
    price: "Price | None",
    budget: float,
    quality: bool,
    seed: int | None,
    store: Path,
    out: Path | None,
    tag: str | None,
    resumed: str | None,
    force: bool,
    trust: bool,
    report: bool,
    download: bool,
) -> int:
    """Search for the fastest correct settings of a model.

    TARGET is a model as for `gpubench run`: torchvision:NAME, FILE.py:NAME or MODULE:NAME. The search tries precision,
    layout, compilation, batch size, threads and whatever else suits the device; with a SUITE, its axes. Each setting
    gets a launch that checks its output and memory; then settings take turns until the fastest is certain. Ctrl-C
    keeps what is known.

    \b
    Examples:
      gpubench tune torchvision:resnet18 --budget 20m
      gpubench tune mymodel.py:Net --input 3x64x64 -s batch_size=32       the batch size stays
      gpubench tune mymodel.py:Net --input 3x64x64 --axis precision --axis compile
      gpubench tune torchvision:resnet18 --objective cost --price 2.5/h
      gpubench tune --resume @last --budget 10m                           more time

    \b
    Exit status:
      0 a setting was found    2 usage error, or nothing to try
      3 every setting failed, or the budget was too small    130 interrupted
    """  # noqa: D301 - click looks for the character itself
    if (target is None) == (resumed is None):
        raise click.UsageError("Name a target or suite to tune, or a search to --resume.")
    if resumed is not None:
        settled: dict[str, object] = {
            "-s": overrides,
            "--axis": axes,
            "--input": inputs,
            "--loss": loss,
            "--price": price,
            "--out": out,
        }
        settled |= {"--tag": tag, "--seed": seed, "--quality": quality}
        given = next((name for name, value in settled.items() if value), None)
        if given is not None:
            raise click.UsageError(f"--resume continues the search as it began: it cannot be combined with {given}.")
        outcome = _resume(resumed, store, budget, download=download, force=force, trust=trust)
        return _ended(outcome, store, report=report)
    if force or trust:
        raise click.UsageError(f"{'--force' if force else '--trust'} applies only to a stored run: add --resume RUN.")
    if objective == "cost" and price is None:
        raise click.UsageError("--objective cost needs --price, such as --price 2.5/h.")
    from gpubench.cli.screens.tune_screen import print_progress
    from gpubench.cli.tune_search import TuneSearch
    from gpubench.runner.run import RunRequest, start
    from gpubench.runner.run_session import Decisions
    from gpubench.store.run_info import TuneGoal

    loaded = _loaded(target or "", (*overrides, *model_settings(inputs, loss)), axes, quality=quality)
    hourly = price_here(price)
    goal = TuneGoal.model_validate({"objective": objective, "price": hourly})
    request = RunRequest(
        loaded,
        argv=("gpubench", *sys.argv[1:]),
        store=store,
        out=out,
        tag=tag,
        seed=seed,
        budget_s=budget,
        download=download,
        tune=goal,
        price_per_hour=hourly,
    )
    search = TuneSearch(loaded.suite, goal)
    outcome = start(request, print_progress, Decisions(next_step=search), before=_check_device)
    return _ended(outcome, store, report=report)


def _loaded(target: str, overrides: tuple[str, ...], axes: tuple[str, ...], *, quality: bool) -> Any:
    from gpubench.core.errors import UsageError
    from gpubench.runner.check_workloads import refuse_unusable
    from gpubench.suite.tuned_axes import tuned_suite

    loaded = tuned_suite(target, overrides, axes)
    if quality and loaded.suite.quality is None:
        if loaded.cases[0].mode != "train":
            raise UsageError("--quality needs training cases.", hint="-s mode=train")
        data = [] if loaded.cases[0].data != "synthetic" else ["quality.data=digits"]
        loaded = tuned_suite(target, (*overrides, "quality.epochs=8", *data), axes)
    elif not quality and loaded.suite.quality is not None:
        loaded = tuned_suite(target, (*overrides, "quality=off"), axes)
    if loaded.target is not None:
        click.echo(f"importing {loaded.target} ...", err=True)
    refuse_unusable(loaded, loaded.cases[:1], say)
    return loaded


def _check_device(info: "RunInfo") -> None:
    """UsageError, with the reason, if no case can be measured here."""
    from gpubench.core.errors import UsageError

    reasons = [case.skip_reason for case in info.cases if case.kind == "measure"]
    if reasons and all(reasons):
        raise UsageError(f"Nothing can be measured here: {reasons[0]}.")


def _resume(reference: str, store: Path, budget: float, *, download: bool, force: bool, trust: bool) -> "RunOutcome":
    from gpubench.cli.screens.tune_screen import print_progress
    from gpubench.cli.tune_search import TuneSearch
    from gpubench.core.errors import UsageError
    from gpubench.runner.run import ResumeRequest, resume
    from gpubench.runner.run_session import Decisions
    from gpubench.store.run_info import understood
    from gpubench.store.run_names import resolve_run
    from gpubench.store.run_reader import load_info
    from gpubench.suite.model.suite import Suite

    folder = resolve_run(reference, store)
    info = load_info(folder)
    if info.tune is None:
        raise UsageError(f"run {info.run} is not a search.", hint=f"gpubench run --resume {info.run}")
    search = TuneSearch(understood(Suite, info.suite, "the run's suite has a setting"), info.tune)
    request = ResumeRequest(folder, budget_s=budget, download=download, force=force, trust=trust)
    return resume(request, print_progress, Decisions(next_step=search))


def _ended(outcome: "RunOutcome", store: Path, *, report: bool) -> int:
    """Prints the result, and writes the suite that repeats it and the report."""
    from gpubench.analysis.tuning.paste_lines import paste_lines
    from gpubench.cli.open_run import shown_name
    from gpubench.cli.screens.tune_screen import tune_lines
    from gpubench.cli.tune_search import TuneSearch
    from gpubench.store.atomic_files import write_atomically
    from gpubench.store.run_info import understood
    from gpubench.store.run_reader import load_run
    from gpubench.suite.model.suite import Suite

    stored = load_run(outcome.folder)
    goal, name = stored.info.tune, shown_name(stored.folder, store)
    assert goal is not None, "it was tuned"
    search = TuneSearch(understood(Suite, stored.info.suite, "the run's suite has a setting"), goal)
    tuned = search.tuned(stored.info.cases, stored.records, stored.contests)
    order, again = tuned.measured.order, f"gpubench tune --resume {name} --budget 10m"
    if not tuned.measured.valid or len(order) < 2:
        if tuned.measured.valid:
            ended = "The search was interrupted" if outcome.interrupted else "The budget was used up"
            say(f"{ended} before a second setting was measured.")
        else:
            first = tuned.reason(order[0]) if order else "the budget was used up before one ran"
            say(f"No setting gave a valid figure: {first.rstrip('.')}.")
        if not tuned.is_over:
            click.echo(f"More    {again}")
        return ExitStatus.INTERRUPTED if outcome.interrupted else ExitStatus.CASE_FAILED
    start = tuned.start
    score = _score(search, tuned, stored)
    click.echo("\n".join(tune_lines(tuned, paste_lines(tuned.cases[tuned.best]), goal.price, score)))
    click.echo()
    suite = stored.folder / SUITE_NAME
    write_atomically(suite, _suite_text(stored, tuned).encode())
    if report:
        from gpubench.report.write import report_of, write_both

        write_both(report_of(stored, name), stored.folder)
    click.echo(f"Run     {stored.folder}\nSuite   gpubench run {suite}\nNext    gpubench show {name}")
    unsure = tuned.best != start and (tuned.together.low is None or tuned.together.low <= 0)
    if outcome.interrupted or unsure or not tuned.is_over:
        click.echo(f"More    {again}")
    return ExitStatus.INTERRUPTED if outcome.interrupted else ExitStatus.OK


def _score(search: "TuneSearch", tuned: "TunedRun", stored: "Run") -> str:
    """Scores of the best setting and the start; empty unless both were trained."""
    from gpubench.core.metrics import METRICS

    start, best = (
        search.accuracy(tuned.cases[point], stored.info.cases, stored.records)
        for point in (tuned.start or 0, tuned.best)
    )
    title = next((METRICS[each.quality.score_name].title for each in stored.records if each.quality), "")
    return "" if start is None or best is None else f"{title} {best:.1%}, against {start:.1%} at the start"


def _suite_text(stored: "Run", tuned: "TunedRun") -> str:
    """A suite of the starting and the best setting, which take turns again."""
    from gpubench.suite.model.case import Case

    assert tuned.start is not None, "something was measured"
    plain = Case().settings
    start, best = tuned.cases[tuned.start], tuned.cases[tuned.best]
    defaults = {name: value for name, value in start.settings.items() if value != plain[name] or name == "device"}
    file, _, attribute = start.workload.rpartition(":")
    if file.endswith(".py"):
        beside = Path(stored.info.suite_path).parent if stored.info.suite_path else Path()
        there = next((each for each in (beside / file, Path(file)) if each.is_file()), Path(file))
        defaults["workload"] = f"{there.resolve()}:{attribute}"
    change = {name: best.settings[name] for name in tuned.differ(tuned.start, tuned.best)}
    written = [
        f"# Made by gpubench tune, run {stored.info.run}: the start, and the best setting.",
        "schema: 1",
        f"name: {stored.info.suite_name}",
        f"defaults: {json.dumps(defaults)}",
        f"include: {json.dumps([change] if change else [])}",
        f"baseline: {json.dumps({name: start.settings[name] for name in change})}",
    ]
    return "\n".join(written) + "\n"
