"""`gpubench stat`: time, memory, energy and clocks of any program."""

import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.console import fitted
from gpubench.cli.print_errors import say
from gpubench.cli.shared_options import share
from gpubench.cli.streams import discard_stdout, why_messages_were_lost
from gpubench.core.errors import FiguresLostError, StoreError
from gpubench.core.secrets import hide_secrets, mask_text
from gpubench.report.model.inert_text import json_text
from gpubench.store.atomic_files import prepare_output, write_output

if TYPE_CHECKING:
    from gpubench.cli.measured_program import MeasuredPrograms

_USE = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(name="stat", context_settings=_USE)
@click.argument("command_line", metavar="COMMAND [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-r", "--runs", type=click.IntRange(1, 10_000), help="Number of runs; with --against, of rounds at most.")
@click.option("-w", "--warmup", type=click.IntRange(0, 1000), default=0, help="Warm-up runs, which do not count.")
@click.option("--against", metavar="'COMMAND'", help="Another command to run in turn, for a verdict on wall time.")
@click.option("--sesoi", type=share, help="Smallest change that matters, with --against (default: 3%).")
@click.option(
    "--device", "devices", multiple=True, metavar="DEVICE", help="CUDA number, UUID or PCI address (default: all)."
)
@click.option("--ignore-failure", is_flag=True, help="Continue even if a run exits with a non-zero status.")
@click.option("-q", "--quiet", is_flag=True, help="Discard what the program writes to stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout; the program's stdout goes to stderr.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the figures to a file (`-`: stdout).",
)
def command(
    command_line: tuple[str, ...],
    *,
    runs: int | None,
    warmup: int,
    against: str | None,
    sesoi: float | None,
    devices: tuple[str, ...],
    ignore_failure: bool,
    quiet: bool,
    as_json: bool,
    output: Path | None,
) -> int:
    """Measure any program: wall and CPU time, peak memory, energy, clocks and throttling.

    Standard streams and signals are passed through to the program (each run reads a file on stdin from its start), and
    its exit status becomes that of gpubench (128 + n after signal n, 127 if there is no such program, 126 if it cannot
    be started, 125 if the figures cannot be written). Figures go to stderr. Memory is that of all its processes; GPU
    figures cover each card that it may open, and include what other programs do there.

    With --against, both commands run in turn, in random order within a round, until a verdict on wall time or the
    last round.

    \b
    Examples:
      gpubench stat python train.py --epochs 1
      gpubench stat -r 10 --json -- ./bench > figures.json
      gpubench stat --against 'python old.py' -- python new.py
      gpubench stat -- sh -c 'make -j8 && ./bench'
    """  # noqa: D301 - click looks for the character itself
    from gpubench.cli.measured_program import ProgramTelemetry, measure_programs
    from gpubench.runner.program_run import SharedInput, find_program

    reference = _words(against)
    if sesoi is not None and reference is None:
        raise click.UsageError("--sesoi applies only to a verdict: add the other command with --against.")
    for words in (command_line, reference) if reference else (command_line,):
        find_program(words)
    to_stdout = as_json if output is None else str(output) == "-"
    if output is not None and not to_stdout:
        prepare_output(output)
    stdout = subprocess.DEVNULL if quiet else 2 if as_json else None
    given = SharedInput()
    with ProgramTelemetry(devices) as telemetry:
        measured = measure_programs(
            partial(telemetry.measure, stdout=stdout, stdin=given),
            command_line,
            reference,
            runs=runs,
            warmup=warmup,
            sesoi=sesoi,
            ignore_failure=ignore_failure,
        )
        why_no_device = telemetry.without_devices
    text = _document(measured, why_no_device) if as_json else _screen(measured, why_no_device)
    if not as_json and output is None:
        text = fitted(text, sys.stderr)
    _write(text, None if to_stdout else output, err=not to_stdout)
    if measured.stopped:
        say(f"note: {measured.stopped}")
    if len(measured.runs) + len(measured.reference_runs) + warmup > 1 and given.is_spent:
        say(
            "note: standard input was a pipe, so only the first run that read it got its content\n"
            "hint: Give it as a file, which every run reads from the start: gpubench stat ... < FILE."
        )
    return measured.exit_status


def _write(text: str, output: Path | None, *, err: bool) -> None:
    """FiguresLostError if the figures cannot be written; BrokenPipeError if the reader of stdout is gone."""
    try:
        if output is not None:
            write_output(output, text + "\n")
            return
        click.echo(text, err=err)
        lost = why_messages_were_lost() if err else None
    except StoreError as error:
        raise FiguresLostError(f"the program ran, but gpubench {error}", hint=error.hint) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        lost = error
    if lost is not None:
        why = (lost.strerror or str(lost)).lower()
        raise FiguresLostError(f"the program ran, but its figures cannot be written: {why}") from lost


def _words(against: str | None) -> tuple[str, ...] | None:
    if against is None:
        return None
    try:
        words = tuple(shlex.split(against))
    except ValueError as error:
        raise click.BadParameter(f"{error} in {against!r}", param_hint="--against") from error
    if not words:
        raise click.BadParameter("names no command", param_hint="--against")
    return words


def _document(measured: "MeasuredPrograms", why_no_device: str) -> str:
    from gpubench.cli.measured_program import as_document

    return json_text(hide_secrets(as_document(measured, why_no_device)), indent=2)


def _screen(measured: "MeasuredPrograms", why_no_device: str) -> str:
    from gpubench.cli.screens.program_screen import program_lines, verdict_line

    lines: list[str] = []
    if measured.reference is not None and measured.reference_runs:
        lines += ["", *program_lines(measured.reference, measured.reference_runs, why_no_device)]
    if measured.runs:
        lines += ["", *program_lines(measured.command, measured.runs, why_no_device)]
    if measured.reference is not None and measured.comparison is not None:
        lines += ["", verdict_line(measured.command, measured.reference, measured.comparison)]
    return mask_text("\n".join(lines))
