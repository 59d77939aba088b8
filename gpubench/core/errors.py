"""Errors and exit statuses.

    GpubenchError
     +-- UsageError          a bad option, suite file, run name or folder              (exit 2)
     |    +-- SuiteError     one or more mistakes in a suite file, all of them at once
     +-- StoreError          a run folder that cannot be written, read or locked       (exit 2)
     +-- FiguresLostError    `stat` ran the program, but its figures cannot be written (exit 125)
     +-- MachineUnfitError   `--strict` refused the state of this machine              (exit 4)
     +-- WorkerError         a worker broke the protocol or died; becomes a row, rarely shown to the user

Each has a plain sentence and, where there is one, a `hint` that says what to do.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class ExitStatus(IntEnum):
    """The same in every command."""

    OK = 0
    GATE_FAILED = 1
    USAGE = 2
    CASE_FAILED = 3
    MACHINE_UNFIT = 4
    FIGURES_LOST = 125
    INTERRUPTED = 130


class GpubenchError(Exception):
    """Base of every error shown to the user. `str(error)` is the sentence, `hint` says what to do."""

    exit_status: int = ExitStatus.USAGE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(GpubenchError):
    """The command or its input is wrong; nothing was measured."""


class SuiteError(UsageError):
    """A suite file is wrong, as written or after `-s`. `problems` lists every mistake; the message shows where."""

    def __init__(self, message: str, problems: Sequence[Any]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class StoreError(GpubenchError):
    """A run folder cannot be created, written, read or locked."""


class FiguresLostError(GpubenchError):
    """A program ran, but its figures cannot be written. The status is the one that `env` and `timeout` use for their
    own failures.
    """

    exit_status = ExitStatus.FIGURES_LOST


class MachineUnfitError(GpubenchError):
    """`--strict` found the machine in a state that would spoil measurements."""

    exit_status = ExitStatus.MACHINE_UNFIT


class WorkerError(GpubenchError):
    """A worker broke the protocol, or could not be started."""

    exit_status = ExitStatus.CASE_FAILED
