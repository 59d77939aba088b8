"""`gpubench check`: the gate."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.gate.check_request import Asked
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
    help="Measure cases that break a limit again, N fresh rounds, and fail only what breaks it there too.",
)
@click.option(
    "--accept", metavar="REASON", help="Exit 0 although a gate failed, and keep the run as baseline with the reason."
)
@click.option(
    "--update", is_flag=True, help="Keep the run as this machine's baseline if it passes, or if there is none."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["run", "pytest-benchmark"]),
    default="run",
    show_default=True,
    help="What RUN and REF are: stored runs, or JSON files that pytest-benchmark wrote.",
)
@click.option("--arm", metavar="NAME", help="The arm to check, of a run with more than two.")
@click.option("--sesoi", type=share, help="Smallest change that matters (3%; of arms, what their run was given).")
@click.option("--allow-unpaired", is_flag=True, help="Let times of sides that were not interleaved fail a gate.")
@click.option("--force", is_flag=True, help="Check where GPU, suite or settings differ all the same.")
@click.option("--strict", is_flag=True, help="Exit 4 if the machine was not fit while the run was measured.")
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

    A limit is broken where the whole interval of a change lies beyond it; `unclear` never fails. The strong form checks
    the arms of one run, which were interleaved (`gpubench run SUITE --arm base=... --arm head=...`). Against a stored
    baseline or run, memory and statuses are judged in full, and speed only with --allow-unpaired. Of several limits for
    a metric the last that covers a case counts: the suite's `gates:`, then --gate.

    \b
    Examples:
      gpubench check @last --confirm 10      the arms of the last run
      gpubench check @last --update          against this machine's baseline
      gpubench check @last --accept 'the new cache needs more memory'
      gpubench check head --against base --format pytest-benchmark
    Exit status:
      0 kept    1 a gate failed    2 nothing could be checked
      3 cases crashed    4 the machine was unfit (--strict)
    """  # noqa: D301 - click looks for the character itself
    _check_use(accept, update=update)
    asked = Asked(against, gates, sesoi, rounds or 0, allow_unpaired, force, arm, update, accept, baselines, store)
    ending = CheckEnd(junit, output, as_json, wide)
    if form == "pytest-benchmark":
        if strict:
            raise click.UsageError("--strict asks how fit the machine was, which files of pytest-benchmark do not say.")
        from gpubench.cli.gate.pytest_gate import check_files

        return ending.report(check_files(runs, asked), runs[0] if runs else "", gate=output)
    if len(runs) > 1:
        raise click.UsageError("One run is checked at a time; --against names what it is checked against.")
    from gpubench.cli.gate.keep_baseline import first_baseline
    from gpubench.cli.open_run import open_run, shown_name

    with _no_collections():
        run = open_run(runs[0] if runs else "@last", store)
        if strict:
            _refuse_unfit(run)
        written = first_baseline(run, asked)
        if written is not None:
            return ending.first(run, written)
        checked = check_run(run, asked)
    return ending.report(checked, shown_name(run.folder, store), gate=output or run.folder / GATE_NAME)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Thousands of records are made that all stay: looking for garbage among them takes a sixth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_use(accept: str | None, *, update: bool) -> None:
    if accept is not None and update:
        raise click.UsageError("--accept and --update exclude each other: both write the baseline.")
    if accept is not None and not accept.strip():
        raise click.UsageError("--accept needs a reason: it is kept in the baseline's history.")


def _refuse_unfit(run: "Run") -> None:
    from gpubench.core.findings.machine import unfit

    codes = unfit({found.code for record in run.records for found in record.findings})
    if codes:
        raise MachineUnfitError(
            f"the machine was not fit while {run.info.run} was measured: {', '.join(codes)}",
            hint=f"`gpubench list findings {codes[0]}` explains; without --strict the check goes on.",
        )


def check_run(run: "Run", asked: Asked) -> "Checked":
    """The gates of a stored run, with fresh rounds where asked for, and the baseline where it is to be kept."""
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
    """Where the outcome goes, and the exit status that follows."""

    junit: Path | None
    output: Path | None
    as_json: bool
    wide: bool

    def report(self, checked: "Checked", name: str, *, gate: Path | None) -> int:
        """Files first, so that they are there whatever becomes of the terminal."""
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
        """A run that was only kept as baseline: there was nothing to check it against."""
        from gpubench.core.records import CRASHED
        from gpubench.report.comparison.json_documents import to_lines

        ended = any(record.status in CRASHED for record in run.records)
        status = ExitStatus.CASE_FAILED if ended else ExitStatus.OK
        if self.as_json:
            sys.stdout.write(to_lines({"schema": 1, "status": int(status), "baseline_written": str(written)}))
        else:
            click.echo(f"Baseline written: {written}. There was none to check against. Commit it.")
        return status
