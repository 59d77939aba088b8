"""`batch_size: max`: the largest batch whose real step fits into memory, found by trying.

Each trial is a separate process that uses memory like the measurement, so that it leaves nothing behind.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpubench.core.units import format_bytes, format_percent
from gpubench.protocol.messages import Progress
from gpubench.suite.model.case import Case
from gpubench.worker.batch_search.trial import HEADROOM, Rehearse, Trial, limit_bytes, try_batch
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.workloads.base import Unsupported

MOST = 2**24
"""No batch is larger (as in `Case`)."""

_FIRST = 2
_GROWTH = 8
_FAR = 32
_STRIDES = 64
_CONSTANT = ("operators:matmul", "operators:copy", "operators:launch")


class NothingFits(MemoryError):  # noqa: N818 - a result, not an error
    """Not even one sample fits; handled like any other out-of-memory."""


class MemoryLine(NamedTuple):
    """`fixed_bytes + per_sample_bytes * batch`. `deviation`: the largest relative distance of a trial from it."""

    fixed_bytes: float
    per_sample_bytes: float
    deviation: float


def fit_line(points: Sequence[tuple[int, int]]) -> MemoryLine | None:
    """Fits (batch, peak bytes) by least squares of the relative error, so that small trials count as much as large
    ones.

    None with fewer than two different batches.
    """
    known = [(float(batch), float(peak)) for batch, peak in points if peak > 0]
    if len({batch for batch, _ in known}) < 2:
        return None
    weights = [1 / peak**2 for _, peak in known]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, known, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, known, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, known, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, known, strict=True)) / spread
    fixed = mean_y - slope * mean_x
    deviation = max(abs(fixed + slope * x - y) / y for x, y in known)
    return MemoryLine(fixed, slope, deviation)


@dataclass(frozen=True)
class LargestBatch:
    """`batch` ran and `batch + 1` did not, for `reason`, which need not be memory. `limit`: bytes a trial could use,
    without the headroom.
    """

    batch: int
    reason: str
    limit: int
    trials: tuple[Trial, ...] = field(repr=False)
    seconds: float = 0.0

    @property
    def line(self) -> MemoryLine | None:
        return fit_line([(trial.batch, trial.peak_bytes) for trial in self.trials if trial.peak_bytes is not None])

    @property
    def ended_by_memory(self) -> bool:
        """Whether `batch + 1` ran out of memory, or was not tried."""
        return all(trial.out_of_memory for trial in self.trials if trial.batch == self.batch + 1)

    def metrics(self) -> dict[str, float | None]:
        line = self.line
        per_sample, fixed = (None, None) if line is None else (line.per_sample_bytes, line.fixed_bytes)
        return {"largest_batch": float(self.batch), "memory_per_sample_bytes": per_sample, "memory_fixed_bytes": fixed}

    def facts(self) -> dict[str, Any]:
        """Everything the search found, in JSON types, for `Effective.extra`."""
        line = self.line
        return {
            "batch": self.batch,
            "headroom": HEADROOM,
            "limit_bytes": self.limit,
            "next_fails_with": self.reason,
            "ended_by_memory": self.ended_by_memory,
            "line_deviation": None if line is None else line.deviation,
            "searched_s": self.seconds,
            "trials": [trial.facts() for trial in self.trials],
        }


def resolve(launch: RunningJob, rehearse: Rehearse) -> tuple[Case, LargestBatch]:
    """The launch's case with its batch as a number. Call it before anything touches CUDA in this process: it forks, and
    each fork runs `rehearse`.

    Raises Unsupported if the case has no largest batch, NothingFits if one sample is too much, Interrupted when told to
    stop, and RuntimeError if even the smallest batch fails for a reason other than memory.
    """
    case = launch.job.case
    if case.workload in _CONSTANT:
        raise Unsupported(
            f"the memory of {case.workload} does not grow with `batch_size`, so there is no largest batch"
        )
    if case.timing == "latency":
        raise Unsupported("`batch_size: max` is for throughput: a latency case needs a batch size")
    limit = limit_bytes(case.device_type)

    def attempt(batch: int) -> Trial:
        if launch.stop():
            raise Interrupted("it was stopped during the search for the largest batch")
        trial = try_batch(with_batch(case, batch), rehearse, limit)
        launch.sender.offer(Progress(num_steps=batch))
        return trial

    found = search(attempt, limit)
    return with_batch(case, found.batch), found


def with_batch(case: Case, batch: int) -> Case:
    return case.model_copy(update={"batch_size": batch})


def search(attempt: Callable[[int], Trial], limit: int | None = None, most: int = MOST) -> LargestBatch:
    """The largest batch for which `attempt` fits, provided that memory grows with the batch: it ran, and the next one
    did not.

    Tries small batches, then larger ones as predicted from their memory, until one fails; then goes in growing strides
    from the new prediction across the limit; then bisects.
    """
    began = time.monotonic()
    bracket = _Bracket(attempt, limit, most)
    if not bracket.try_out(min(_FIRST, most)):
        bracket.try_out(1)
    if bracket.low == 0:
        tried = bracket.trials[-1]
        if not tried.out_of_memory:
            raise RuntimeError(f"a batch of {tried.batch} does not run: {tried.reason}")
        raise NothingFits(
            f"not even a batch of {tried.batch} fits into {format_bytes(tried.limit_bytes)} "
            f"({format_percent(HEADROOM, decimals=0)} kept free): {tried.reason}"
        )
    while bracket.high > most and bracket.low < most:
        predicted = bracket.predicted()
        far = bracket.low * _GROWTH if predicted is None else min(predicted, bracket.low * _FAR)
        bracket.try_out(min(max(far, bracket.low + 1), most))
    bracket.cross_limit()
    while bracket.high - bracket.low > 1:
        bracket.try_out((bracket.low + bracket.high) // 2)
    trials = tuple(sorted(bracket.trials, key=lambda trial: trial.batch))
    why = next((trial.reason for trial in trials if trial.batch == bracket.high), f"no batch above {most} is tried")
    return LargestBatch(bracket.low, why, bracket.allowed, trials, time.monotonic() - began)


class _Bracket:
    """`low` fits, `high` does not."""

    def __init__(self, attempt: Callable[[int], Trial], limit: int | None, most: int) -> None:
        self._attempt, self._limit = attempt, limit
        self.trials: list[Trial] = []
        self.low, self.high = 0, most + 1

    @property
    def allowed(self) -> int:
        """Bytes allowed; if every trial asks the device, the least that any was allowed."""
        return self._limit if self._limit is not None else min(trial.limit_bytes for trial in self.trials)

    def try_out(self, batch: int) -> bool:
        trial = self._attempt(batch)
        self.trials.append(trial)
        if trial.fits:
            self.low = max(self.low, batch)
        else:
            self.high = min(self.high, batch)
        return trial.fits

    def predicted(self) -> int | None:
        """The batch at which the line through the trials so far meets the limit; None without such a line."""
        line = fit_line([(trial.batch, trial.peak_bytes) for trial in self.trials if trial.peak_bytes is not None])
        if line is None or line.per_sample_bytes <= 0:
            return None
        return int((self.allowed - line.fixed_bytes) / line.per_sample_bytes)

    def cross_limit(self) -> None:
        """Tries the predicted batch, and from there in growing strides until the outcome changes."""
        predicted = self.predicted()
        if predicted is None or self.high - self.low <= 2:
            return
        guess = min(max(predicted, self.low + 1), self.high - 1)
        stride = max(1, guess // _STRIDES)
        fitted = fits = self.try_out(guess)
        while fits == fitted and (self.low + stride < self.high if fitted else self.high - stride > self.low):
            fits = self.try_out(self.low + stride if fitted else self.high - stride)
            stride *= 2
