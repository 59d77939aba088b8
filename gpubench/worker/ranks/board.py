"""Shared memory through which ranks and their agent see each other's state: a few numbers per rank."""

import mmap
import os
import time
from pathlib import Path
from typing import NamedTuple

PHASES = ("starting", "build", "warmup", "measuring", "checking", "closing", "parity")

_STOP = 0
_PID, _PHASE, _SINCE, _LONGEST, _WIDTH = 0, 1, 2, 3, 4
_BYTES = 8


class Sign(NamedTuple):
    """The last state of a rank. `since_s`: when its last step ended (`time.monotonic()`), 0 while it runs no steps;
    `longest_s`: the longest time between two ends of steps.
    """

    pid: int
    phase: str
    since_s: float
    longest_s: float


class Board:
    """A memory-mapped file of doubles: whether all ranks should stop, then four numbers per rank."""

    def __init__(self, path: Path, num_ranks: int) -> None:
        """Creates the file if necessary. OSError if that fails."""
        size = _BYTES * (1 + _WIDTH * num_ranks)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            self._numbers = memoryview(mmap.mmap(descriptor, size)).cast("d")
        finally:
            os.close(descriptor)

    @property
    def stopping(self) -> bool:
        return self._numbers[_STOP] != 0

    def stop(self) -> None:
        self._numbers[_STOP] = 1.0

    def row(self, rank: int) -> "memoryview[float]":
        """The numbers that a rank writes about itself: process id, phase, and two on its steps (`show_step`)."""
        begin = 1 + _WIDTH * rank
        return self._numbers[begin : begin + _WIDTH]

    def sign(self, rank: int) -> Sign:
        row = self.row(rank)
        return Sign(int(row[_PID]), PHASES[int(row[_PHASE])], row[_SINCE], row[_LONGEST])


def show_start(row: "memoryview[float]") -> None:
    row[_PID] = os.getpid()


def show_phase(row: "memoryview[float]", phase: str) -> None:
    """From now on steps are expected in the measuring phase; in warm-up, whose first step may compile, only after that
    step.
    """
    row[_SINCE] = time.monotonic() if phase == "measuring" else 0.0
    if phase in PHASES:
        row[_PHASE] = PHASES.index(phase)


def show_step(row: "memoryview[float]", now_s: float) -> None:
    """Records the end of a step. Takes about 200 ns."""
    before_s = row[_SINCE]
    if before_s and now_s - before_s > row[_LONGEST]:
        row[_LONGEST] = now_s - before_s
    row[_SINCE] = now_s
