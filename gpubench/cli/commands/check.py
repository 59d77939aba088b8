"""`gpubench check`: the gate."""

import gc
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.gate.check_request import CheckRequest
from gpubench.cli.shared_options import complete_runs, json_option, share, store_option, wide_option
from gpubench.core.errors import ExitStatus, MachineUnfitError

if TYPE_CHECKING:
    from gpubench.analysis.gate.gate_outcome import Checked
    from gpubench.store.run_reader import Run

BASELINES = Path("suites") / "baselines"
GATE_NAME = "gate.json"


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
    help="A limit: throughput=3%, status=oom,failed; for single cases throughput=8%@'batch_size<64'.",
)
@click.option(
    "--confirm",
    "rounds",
    type=click.IntRange(1, 1000),
    default=None,
    metavar="N",
    help="Measure cases that break a limit again for N rounds; fail only those that break it again.",
)
@click.option("--accept", metavar="REASON", help="Exit 0 even if a gate failed, and keep the run as the baseline.")
@click.option("--update", is_flag=True, help="Keep the run as this machine's baseline if it passes or there is none.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["run", "pytest-benchmark"]),
    default="run",
    show_default=True,
    help="What RUN and REF are: stored runs, or JSON files of pytest-benchmark.",
)
@click.option("--arm", metavar="NAME", help="The arm to check, for runs with more than two.")
@click.option("--sesoi", type=share, help="Smallest change that matters (default: 3%, or that of the run's arms).")
@click.option("--allow-unpaired", is_flag=True, help="Let times fail a gate even if the sides were not interleaved.")
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

    A limit is broken if the whole interval of a change lies beyond it; `unclear` never fails. The strongest check is of
    the arms of one run, which were interleaved (`gpubench run SUITE --arm base=... --arm head=...`). Against a stored
    baseline or run, memory and statuses are always judged, speed only with --allow-unpaired. If several limits for a
    metric cover a case, the last one counts: the suite's `gates:`, then --gate.

    \b
    Examples:
      gpubench check @last --confirm 10      the arms of the last run
      gpubench check @last --update          against this machine's baseline
      gpubench check @last --accept 'the new cache needs more memory'
      gpubench check head --against base --format pytest-benchmark
    Exit status:
      0 passed    1 a gate failed    2 nothing could be checked
      3 cases crashed    4 the machine was unfit (--strict)
    """  # noqa: D301 - click looks for the character itself
    if accept is not None and update:
        raise click.UsageError("--accept and --update exclude each other: both write the baseline.")
    if accept is not None and not accept.strip():
        raise click.UsageError("--accept needs a reason: it is kept in the baseline's history.")
    asked = CheckRequest(
        against, gates, sesoi, rounds or 0, allow_unpaired, force, arm, update, accept, baselines, store
    )
    ending = CheckEnd(junit, output, as_json, wide)
    if form == "pytest-benchmark":
        if strict:
            raise click.UsageError("--strict needs the machine's fitness, which files of pytest-benchmark do not have.")
        from gpubench.cli.gate.pytest_gate import check_files

        return ending.report(check_files(runs, asked), runs[0] if runs else "", gate=output)
    if len(runs) > 1:
        raise click.UsageError("One run is checked at a time; --against names what to check it against.")
    from gpubench.cli.gate.keep_baseline import first_baseline
    from gpubench.cli.open_run import open_run, shown_name

    # Loading makes thousands of records that all stay: looking for garbage among them takes a sixth of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        run = open_run(runs[0] if runs else "@last", store)
        if strict:
            _refuse_unfit(run)
        written = first_baseline(run, asked)
        if written is not None:
            return ending.first(run, written)
        checked = check_run(run, asked)
    finally:
        if was_enabled:
            gc.enable()
    return ending.report(checked, shown_name(run.folder, store), gate=output or run.folder / GATE_NAME)


def _refuse_unfit(run: "Run") -> None:
    from gpubench.core.findings import unfit

    codes = unfit({found.code for record in run.records for found in record.findings})
    if codes:
        raise MachineUnfitError(
            f"the machine was not fit while {run.info.run} was measured: {', '.join(codes)}",
            hint=f"`gpubench list findings {codes[0]}` explains it; without --strict the run is checked anyway.",
        )


def check_run(run: "Run", asked: CheckRequest) -> "Checked":
    """The gates of a stored run, with fresh rounds and a new baseline if asked for."""
    from gpubench.analysis.compare.compare_sides import compare_sides, refuse
    from gpubench.analysis.gate.gate_outcome import check, metrics_of, settings_for
    from gpubench.cli.gate.choose_sides import rules_for_run, sides_to_check
    from gpubench.cli.gate.keep_baseline import keep
    from gpubench.cli.gate.remeasure import remeasure
    from gpubench.core.metrics import SESOI

    rules, declared = rules_for_run(run, asked.gates)
    reference, candidate = sides_to_check(run, asked.one_against, asked.arm, asked.store, asked.baselines)
    settings = settings_for(rules, asked.sesoi or run.info.sesoi or SESOI)
    compared = compare_sides(reference, candidate, metrics_of(rules), settings, allow_unpaired=asked.allow_unpaired)
    refuse(compared, force=asked.force)
    again = remeasure(run, compared, allow_unpaired=asked.allow_unpaired)
    checked = check(compared, rules, declared=declared, rounds=asked.rounds, remeasure=again)
    return keep(checked, run, asked)


@dataclass(frozen=True)
class CheckEnd:
    """Where the outcome goes."""

    junit: Path | None
    output: Path | None
    as_json: bool
    wide: bool

    def report(self, checked: "Checked", name: str, *, gate: Path | None) -> int:
        """Writes files first, so that they exist even if the terminal cannot be written to. Returns the exit status."""
        from gpubench.cli.gate.publish_outcome import tell_github, write_files
        from gpubench.cli.screens.comparison_screen import print_comparison
        from gpubench.cli.screens.final_screen import result_writer
        from gpubench.report.comparison.gate_screen import build_check
        from gpubench.report.comparison.json_documents import gate_document, to_lines

        model = build_check(checked, run=name)
        write_files(checked, gate=gate, junit=self.junit)
        tell_github(checked, model)
        if self.as_json:
            sys.stdout.write(to_lines(gate_document(checked)))
        else:
            print_comparison(result_writer(wide=self.wide), model)
        return checked.status

    def first(self, run: "Run", written: Path) -> int:
        """For a run that was only kept as the baseline: there was none to check it against."""
        from gpubench.core.records import CRASHED
        from gpubench.report.comparison.json_documents import to_lines

        ended = any(record.status in CRASHED for record in run.records)
        status = ExitStatus.CASE_FAILED if ended else ExitStatus.OK
        if self.as_json:
            sys.stdout.write(to_lines({"schema": 1, "status": int(status), "baseline_written": str(written)}))
        else:
            click.echo(f"Baseline written: {written}. There was none to check against. Commit it.")
        return status
