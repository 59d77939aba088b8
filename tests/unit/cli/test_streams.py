"""What becomes of a result that cannot be delivered: real processes, real pipes."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gpubench.cli.print_errors import status_of

ROOT = Path(__file__).parents[3]
PUBLISHED = str(ROOT / "reports" / "20261126-0022-cnn-b208")


def gpubench(*arguments: str, shell: str) -> tuple[int, str]:
    """Exit status of `gpubench` (not of what reads it) and stderr; `$run` in `shell` stands for the command."""
    command = shlex.join([sys.executable, "-m", "gpubench", *arguments])
    done = subprocess.run(
        ["bash", "-c", shell.replace("$run", command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [("list", "metrics"), ("show", PUBLISHED, "--all")])
def test_a_reader_that_goes_away_is_no_failed_gate(arguments):
    status, said = gpubench(*arguments, shell="$run | true; exit ${PIPESTATUS[0]}")
    assert (status, said) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_under_the_result_is_told_as_such():
    status, said = gpubench("show", PUBLISHED, shell="$run > /dev/full")
    assert status == 2
    assert said == "error: the result cannot be written: no space left on device\n"


def test_closed_stdin_and_stderr_do_not_disturb_a_command():
    assert gpubench("show", PUBLISHED, shell="$run 0<&- 2>&- | grep -q 'samples/s'") == (0, "")
    assert gpubench("show", "/no/such/run", shell="$run 0<&- 2>&-") == (2, "")


def test_a_closed_stdout_is_told_as_such():
    status, said = gpubench("show", PUBLISHED, shell="$run >&-")
    assert status == 2
    assert said == "error: stdout is closed, so results cannot be written\n"


@pytest.mark.parametrize("ending", ["2> /dev/full", "2>&-", "2>&1 > /dev/null | true; exit ${PIPESTATUS[0]}"])
def test_figures_that_stderr_does_not_take_are_no_success_of_the_program(ending):
    assert gpubench("stat", "true", shell=f"$run {ending}") == (125, "")


def test_figures_that_stdout_does_not_take_are_told():
    status, said = gpubench("stat", "--json", "true", shell="$run > /dev/full")
    assert status == 125
    assert said == "error: the program ran, but its figures cannot be written: no space left on device\n"


def test_messages_that_cannot_be_written_leave_result_and_status_as_they_are():
    assert gpubench("show", "/no/such/run", shell="$run 2> /dev/full") == (2, "")
    assert gpubench("validate", "cnn-smoke", shell="$run 2> /dev/full | grep -q cases") == (0, "")


def test_a_limit_of_memory_is_no_mistake_of_gpubench(capsys):
    @click.command
    def reads_a_large_run() -> None:
        raise MemoryError

    assert status_of(reads_a_large_run, []) == 2
    assert capsys.readouterr().err.startswith("error: gpubench ran out of memory\nhint: Is it limited")
