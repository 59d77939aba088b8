"""`gpubench check`: the gate."""

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.shared_options import complete_runs, json_option, share, store_option, wide_option
from gpubench.core.collect_later import no_collection

if TYPE_CHECKING:
    from gpubench.analysis.gate.gate_rules import OnUnclear

BASELINES = Path("suites") / "baselines"


@click.command(name="check")
@click.argument("runs", metavar="[RUN]", nargs=-1, shell_complete=complete_runs)
@click.option(
    "--against",
    multiple=True,
    metavar="REF",
    shell_complete=complete_runs,
    help="A run, a baseline file or an arm (default: the run's first arm, else this machine's baseline).",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="METRIC=LIMIT",
    help="A limit: throughput=3%, status=oom,failed; for single cases throughput=8%@mode=infer.",
)
@click.option(
    "--confirm",
    "rounds",
    type=click.IntRange(1, 1000),
    default=None,
    metavar="N",
    help="Measure cases that break a limit again for N rounds; fail only those that break it again.",
)
@click.option("--accept", metavar="REASON", help="Exit 0 even if a gate failed, and make the run the baseline.")
@click.option(
    "--update", is_flag=True, help="Make the run this machine's baseline if it passes, or if there is none yet."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["run", "pytest-benchmark"]),
    default="run",
    show_default=True,
    help="What RUN and REF are: stored runs, or JSON files from pytest-benchmark.",
)
@click.option("--arm", metavar="NAME", help="The arm to check, for runs with more than two.")
@click.option("--sesoi", type=share, help="Smallest change that matters (default: 3%, or that of the run's arms).")
@click.option("--allow-unpaired", is_flag=True, help="Let times fail a gate even if the sides were not interleaved.")
@click.option(
    "--on-unclear",
    type=click.Choice(["pass", "warn", "fail"]),
    help="How to treat gates that cannot be decided (default: pass, unless none can be).",
)
@click.option(
    "--why",
    is_flag=True,
    help="If a gate on speed fails between arms, profile both in turn and name what makes the case slower.",
)
@click.option("--force", is_flag=True, help="Check even if GPU, suite or settings differ.")
@click.option("--strict", is_flag=True, help="Exit 4 if the machine was unfit during the run.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write JUnit XML.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write gate.json (default: into the run's folder).",
)
@click.option(
    "--baselines",
    type=click.Path(path_type=Path, file_okay=False),
    default=BASELINES,
    show_default=True,
    metavar="DIR",
    help="Folder of the baselines.",
)
@json_option
@wide_option
@store_option
def command(
    runs: tuple[str, ...],
    *,
    against: tuple[str, ...],
    gates: tuple[str, ...],
    rounds: int | None,
    accept: str | None,
    update: bool,
    form: str,
    arm: str | None,
    sesoi: float | None,
    allow_unpaired: bool,
    on_unclear: "OnUnclear | None",
    why: bool,
    force: bool,
    strict: bool,
    junit: Path | None,
    output: Path | None,
    baselines: Path,
    as_json: bool,
    wide: bool,
    store: Path,
) -> int:
    """Fail if a run regressed from its baseline: the CI gate.

    A gate fails if the whole interval of a change is beyond its limit; `unclear` fails only with --on-unclear fail. The
    strongest check compares the interleaved arms of one run (`gpubench run SUITE --arm base=... --arm head=...`).
    Against a stored baseline or run, memory and statuses are always judged, speed only with --allow-unpaired. If
    several limits for a metric cover a case, the last one counts: the suite's `gates:`, then --gate.

    \b
    Examples:
      gpubench check @last --confirm 10      the arms of the last run
      gpubench check @last --update          against this machine's baseline
      gpubench check @last --accept 'the new cache needs more memory'
      gpubench check head --against base --format pytest-benchmark
    Exit status:
      0 passed    1 a gate failed    2 a case, a --gate or everything lacks data
      3 cases crashed or gave no figures    4 the machine was unfit (--strict)
    """  # noqa: D301 - click looks for the character itself
    if accept is not None and update:
        raise click.UsageError("--accept and --update exclude each other: both write the baseline.")
    if accept is not None and not accept.strip():
        raise click.UsageError("--accept needs a reason, which is stored in the baseline's history.")
    _check_format(form, len(runs), strict=strict, why=why)
    from gpubench.cli.gate.check_run import CheckEnd, check_stored
    from gpubench.cli.gate.choose_sides import CheckRequest
    from gpubench.cli.gate.pytest_gate import check_files
    from gpubench.core.secrets import hide_secrets
    from gpubench.store.atomic_files import prepare_output

    asked = CheckRequest(
        against,
        gates,
        sesoi,
        rounds or 0,
        allow_unpaired,
        force,
        arm,
        update,
        None if accept is None else hide_secrets(accept),
        baselines,
        store,
        on_unclear,
        why,
    )
    end = CheckEnd(junit, output, as_json, wide)
    for path in filter(None, (junit, output)):  # before rounds are measured again
        prepare_output(path)
    if form == "pytest-benchmark":
        return end.report(check_files(runs, asked), runs[0] if runs else "", gate=output)
    with no_collection():  # loading makes thousands of records that all stay alive
        return check_stored(runs[0] if runs else "@last", asked, end, strict=strict)


def _check_format(form: str, num_runs: int, *, strict: bool, why: bool) -> None:
    if strict and form == "pytest-benchmark":
        raise click.UsageError(
            "--strict cannot be combined with --format pytest-benchmark: files do not say if the machine was fit."
        )
    if why and form == "pytest-benchmark":
        raise click.UsageError("--why cannot be combined with --format pytest-benchmark: files cannot be profiled.")
    if num_runs > 1 and form == "run":
        raise click.UsageError("Give one run to check, and what to check it against with --against.")
