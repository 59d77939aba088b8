"""What the ranks of a launch decide once for all of them, so that every rank does the same number of steps.

A rank that does one step more than another waits for it for ever. Whatever depends on a clock is therefore the first
rank's decision, told to the others between blocks of steps, never inside them.
"""

import math
import os
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import torch.distributed as dist

from gpubench.core.records import RankRecord
from gpubench.protocol.messages import Result
from gpubench.stats.stopping_rule import StopDecision, StoppingRule
from gpubench.suite.model.case import Case
from gpubench.worker.job import Alone, Step, Stop
from gpubench.worker.ranks.board import Board, show_step
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.operators.collectives import Collective

T = TypeVar("T")

_DEVICE = ("", "_name", "_uuid")


class AgreedStop(Stop):
    """Whether all ranks end early. It changes only where they agree."""


class AgreedRule(StoppingRule):
    """The first rank's rule. How many groups come before the next look is agreed before they are run: `group_s` seconds
    each, so that time limits hold.
    """

    def __init__(self, rule: StoppingRule, group_s: float, together: "Together") -> None:
        self._rule, self._together = rule, together
        self._until = together.agree(self._next(0, 0.0, group_s))

    def due(self, num_groups: int, elapsed_s: float) -> bool:  # noqa: ARG002 - clocks differ between ranks
        return num_groups >= self._until

    def look(self, step_times_s: Any, elapsed_s: float, *, series_s: float | None = None) -> StopDecision:
        found = self._rule.look(step_times_s, elapsed_s, series_s=series_s)
        done = len(step_times_s)
        following = self._next(done, elapsed_s, elapsed_s / done)
        agreed: StopDecision
        agreed, self._until = self._together.agree((found, following))
        return agreed

    def _next(self, num_groups: int, elapsed_s: float, group_s: float) -> int:
        in_time = math.ceil(max(0.0, self._rule.max_time_s - elapsed_s) / group_s)
        return min(self._rule.next_look, num_groups + max(1, in_time))


class Together(Alone):
    """One rank among several. The process group must exist. `control` carries what ranks agree on (gloo, whatever
    carries the measured messages).
    """

    several = True

    def __init__(self, board: Board, rank: int) -> None:
        self.stop = AgreedStop()
        self.record = RankRecord(rank=rank)
        self._board, self._row = board, board.row(rank)
        self._control: Any = dist.new_group(backend="gloo")

    def agree(self, value: T) -> T:
        box: list[Any] = [(value, self._board.stopping)]
        dist.broadcast_object_list(box, src=0, group=self._control)
        agreed: T
        agreed, self.stop.requested = box[0]
        return agreed

    def rule(self, rule: StoppingRule, group_s: float) -> StoppingRule:
        return AgreedRule(rule, group_s, self)

    def take_in(self, workload: Any, case: Case) -> None:
        if not isinstance(workload, Collective):
            raise Unsupported(f"{case.workload} cannot be one of several ranks; leave `world_size` at 1")

    def watched(self, step: Step) -> Step:
        row, clock = self._row, time.monotonic

        def watched_step() -> object:
            result = step()
            show_step(row, clock())
            return result

        return watched_step

    def figures(
        self,
        workload: Any,
        step: Step,  # noqa: ARG002 - models take more steps here
        metrics: Mapping[str, float | None],
        case: Case,
    ) -> tuple[dict[str, float | None], dict[str, str]]:
        step_time_s = metrics.get("step_time_s")
        if isinstance(workload, Collective) and step_time_s is not None:
            return workload.bandwidths(case, step_time_s), {}
        return {}, {}

    def record_of(self, outcome: Result) -> RankRecord:
        """What the run keeps of the rank, given what it measured."""
        effective, metrics = outcome.effective, outcome.metrics
        where = {} if effective is None else {f"device{end}": getattr(effective, f"device{end}") for end in _DEVICE}
        memory = metrics.get("peak_memory_allocated_bytes") or metrics.get("peak_rss_bytes")
        measured = {"step_time_s": metrics.get("step_time_s"), "peak_memory_bytes": memory}
        return self.record.model_copy(update={"pid": os.getpid(), **where, **measured})
