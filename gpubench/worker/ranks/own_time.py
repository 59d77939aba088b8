"""How long a rank computes in a training step, and how long it waits for the others.

Ranks that sum their gradients end every step together, so step times do not show which one is slow. The time from the
start of a step until a rank's last gradients are ready does: no other rank can delay it.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from gpubench.worker.accelerator import Accelerator
from gpubench.worker.job import Step

_MS = 1e-3
_FEW = "too few steps reduced gradients"


class OwnTime(NamedTuple):
    """Medians over steps in seconds, and quartiles of the first; fields as in `RankRecord`."""

    own_time_s: float
    own_time_low_s: float
    own_time_high_s: float
    exposed_communication_s: float
    communication_share: float


@dataclass
class _Marks:
    """Times within one step, on its device's clock."""

    start: Any
    ready: list[Any] = field(default_factory=list)
    done: list[Any] = field(default_factory=list)
    end: Any = None


class GradientWatch:
    """Marks when gradients are ready and when they are summed, in extra steps.

    It replaces DDP's reduction with the same one plus marks, so it is installed after the measured steps. Marks are
    events on a GPU, and readings of `perf_counter` on the CPU.
    """

    def __init__(self, ddp: Any, accelerator: Accelerator) -> None:
        self._accelerator, self._step = accelerator, _Marks(None)
        ddp.register_comm_hook(None, self._reduce)

    def _mark(self) -> Any:
        if not self._accelerator.asynchronous:
            return time.perf_counter()
        event = self._accelerator.event()
        event.record()
        return event

    def _seconds(self, begin: Any, end: Any) -> float:
        return float(begin.elapsed_time(end)) * _MS if self._accelerator.asynchronous else float(end - begin)

    def _reduce(
        self,
        _state: object,
        bucket: dist.GradBucket,  # type: ignore[name-defined] # torch asks for this annotation
    ) -> torch.futures.Future[torch.Tensor]:
        marks = self._step
        marks.ready.append(self._mark())
        gradients = bucket.buffer().div_(dist.get_world_size())

        def summed(future: Any) -> torch.Tensor:
            marks.done.append(self._mark())
            tensor: torch.Tensor = future.value()[0]
            return tensor

        work = dist.all_reduce(gradients, async_op=True)
        assert work is not None, "every rank is in the group"
        return work.get_future().then(summed)

    def measure(self, step: Step, num_steps: int, together: Callable[[], object]) -> OwnTime | str:
        """Runs `num_steps` steps, or returns why they show nothing. `together` makes all ranks begin a step at once."""
        taken = []
        for _ in range(num_steps):
            together()
            self._accelerator.synchronize()
            marks = self._step = _Marks(self._mark())
            step()
            marks.end = self._mark()
            taken.append(marks)
        self._accelerator.synchronize()
        return self._figures([marks for marks in taken if marks.ready and len(marks.done) == len(marks.ready)])

    def _figures(self, taken: Sequence[_Marks]) -> OwnTime | str:
        if len(taken) < 4:
            return _FEW
        own, exposed, shares = [], [], []
        for marks in taken:
            first, last = marks.ready[0], marks.ready[-1]
            waits = max(self._seconds(last, done) for done in marks.done)
            own.append(self._seconds(marks.start, last))
            exposed.append(max(0.0, waits))
            busy_s = self._seconds(first, last) + max(0.0, waits)
            shares.append(min(1.0, busy_s / self._seconds(marks.start, marks.end)))
        low, _, high = statistics.quantiles(own, n=4)
        median = statistics.median
        return OwnTime(median(own), low, high, median(exposed), median(shares))
