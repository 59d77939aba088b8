"""Decisions that the ranks of a launch take together, so that all run the same number of steps.

A rank that runs one step more than the others waits for ever. So the first rank takes every decision that depends on a
clock, and tells the others between blocks of steps, never inside them.
"""

import math
import os
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from gpubench.core.findings import finding
from gpubench.core.records import RankRecord
from gpubench.protocol.messages import Result
from gpubench.stats.stopping_rule import StopDecision, StoppingRule
from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import Accelerator, accelerator_of
from gpubench.worker.checks.after_steps import Metrics, all_absent
from gpubench.worker.job import Alone, RunningJob, Step, Stop
from gpubench.worker.ranks import strategy_parity
from gpubench.worker.ranks.board import Board, show_step
from gpubench.worker.ranks.own_time import GradientWatch
from gpubench.worker.ranks.strategies.seam import Strategy, strategy_named
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.operators.collectives import Collective
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised

T = TypeVar("T")

_DEVICE = ("", "_name", "_uuid")
_OWN = ("own_time_s", "exposed_communication_s", "communication_share")
_OWN_TIME_S = 1.0
LEAST_STEPS, MOST_STEPS = 10, 50
"""Number of extra steps that show a rank's own time."""


class AgreedStop(Stop):
    """Whether all ranks end early. Changes only when they agree."""


class AgreedRule(StoppingRule):
    """Follows the first rank's stopping rule. The ranks agree beforehand how many groups to run before the next
    decision, from `group_s` seconds per group, so that time limits hold.
    """

    def __init__(self, rule: StoppingRule, group_s: float, together: "Together") -> None:
        self._rule, self._together = rule, together
        self._until = together.agree(self._next(0, 0.0, group_s))

    def due(self, num_groups: int, elapsed_s: float) -> bool:  # noqa: ARG002 - clocks differ between ranks
        return num_groups >= self._until

    def look(self, step_times_s: Any, elapsed_s: float, *, series_s: float | None = None) -> StopDecision:
        decision = self._rule.look(step_times_s, elapsed_s, series_s=series_s)
        done = len(step_times_s)
        following = self._next(done, elapsed_s, elapsed_s / done)
        agreed: StopDecision
        agreed, self._until = self._together.agree((decision, following))
        return agreed

    def _next(self, num_groups: int, elapsed_s: float, group_s: float) -> int:
        in_time = math.ceil(max(0.0, self._rule.max_time_s - elapsed_s) / group_s)
        return min(self._rule.next_look, num_groups + max(1, in_time))


class Together(Alone):
    """One rank among several. The process group must exist. `control` carries agreements (gloo, whatever backend the
    measured messages use). `local_rank` is its number on this machine.
    """

    several = True

    def __init__(self, board: Board, rank: int, local_rank: int) -> None:
        self.stop = AgreedStop()
        self.record = RankRecord(rank=rank)
        self._board, self._row = board, board.row(local_rank)
        self._accelerator = Accelerator()
        self._strategy = Strategy()
        self._trained: Distributed | None = None
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
        if isinstance(workload, Collective):
            return
        if not isinstance(workload, Supervised):
            raise Unsupported(f"{case.workload} cannot be one of several ranks; leave `world_size` at 1")
        self._accelerator = accelerator_of(case.device)
        self._strategy = strategy_named(case.strategy)

        def distribute(model: torch.nn.Module, case: Case) -> Distributed:
            self._trained = self._strategy.distribute(workload, model, case)
            return self._trained

        workload.distribute, workload.shard = distribute, 0 if case.splits_model else self.record.rank

    def watched(self, step: Step) -> Step:
        row, clock = self._row, time.monotonic

        def watched_step() -> object:
            result = step()
            show_step(row, clock())
            return result

        return watched_step

    def checks_output(self, workload: Any) -> bool:
        """Only the first rank checks a model's output, which is the same on all."""
        return isinstance(workload, Collective) or self.record.rank == 0

    def figures(
        self, workload: Any, step: Step, metrics: Mapping[str, float | None], case: Case
    ) -> tuple[dict[str, float | None], dict[str, str]]:
        step_time_s = metrics.get("step_time_s")
        if step_time_s is None:
            return {}, {}
        if isinstance(workload, Collective):
            return workload.bandwidths(case, step_time_s), {}
        self._own_time(step, step_time_s)
        return {}, {}

    def _own_time(self, step: Step, step_time_s: float) -> None:
        absent = self._strategy.waits_inside if self._trained else "ranks exchange nothing in inference"
        if self._trained is None or absent is not None:
            self._note(absent=dict.fromkeys(_OWN, absent))
            return
        num_steps = self.agree(max(LEAST_STEPS, min(MOST_STEPS, math.ceil(_OWN_TIME_S / step_time_s))))
        watch = GradientWatch(self._trained.called, self._accelerator)
        found = watch.measure(step, num_steps, lambda: dist.barrier(group=self._control))
        self._note(**({"absent": dict.fromkeys(_OWN, found)} if isinstance(found, str) else found._asdict()))

    def _note(self, **figures: Any) -> None:
        self.record = self.record.model_copy(update=figures)

    def compare(self, launch: RunningJob, workload: Any, case: Case, device: Any) -> Metrics:
        """Compares what all ranks compute with one process: GB313 if they differ."""
        names = ("ranks_loss_rel_error", "ranks_gradient_rel_error")
        if not isinstance(workload, Supervised) or self._trained is None:
            return {}, {}
        if not launch.job.parity:
            return all_absent(names, "not checked in this launch")
        self._trained = None
        found = strategy_parity.compare(workload, case, torch.device(device), self._strategy)
        if not found.passed:
            message = (
                f"{case.world_size} ranks and one process on the same batch differ: the loss by {found.loss:.2g}, the "
                f"gradient by {found.gradient:.2g} (at most {found.limit:.2g})."
            )
            launch.findings.append(finding("GB313", message, loss=found.loss, gradient=found.gradient))
        errors = [error if math.isfinite(error) else None for error in (found.loss, found.gradient)]
        reason = "the result was not finite, or of another shape"
        metrics = dict(zip(names, errors, strict=True))
        return metrics, {name: reason for name, error in metrics.items() if error is None}

    def record_of(self, outcome: Result) -> RankRecord:
        """What the run stores about this rank."""
        effective, metrics = outcome.effective, outcome.metrics
        where = {} if effective is None else {f"device{end}": getattr(effective, f"device{end}") for end in _DEVICE}
        memory = metrics.get("peak_memory_allocated_bytes") or metrics.get("peak_rss_bytes")
        measured = {"step_time_s": metrics.get("step_time_s"), "peak_memory_bytes": memory}
        return self.record.model_copy(update={"pid": os.getpid(), **where, **measured})
