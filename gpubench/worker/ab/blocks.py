"""Arms in alternating blocks: one process builds all arms, which take turns of a few steps each.

The result of a launch is the median over turns of the ratio of step times. On a machine whose speed drifts by a fifth
from minute to minute, the blocks of a turn drift together, so the ratio is many times more precise than either time.
"""

import gc
import math
import random
import time
from contextlib import ExitStack
from typing import Any

from gpubench.core.records import Window
from gpubench.protocol.messages import JobArm, Progress, Result, Turns
from gpubench.stats.stopping_rule import StopDecision, StoppingRule
from gpubench.suite.model.suite import Measure
from gpubench.worker.ab.replicas import DROPPED_STEPS, Replica
from gpubench.worker.ab.turns import Turn, arm_result, levels, orders, ratios, self_check
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.checks.originals import Originals
from gpubench.worker.failures import shortage
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.timing import loop
from gpubench.worker.timing.timers import no_garbage_collection

TWIN = "\0twin"
"""Name of the reference's second replica, which no arm can have."""

BLOCK_STEPS = 2
BLOCK_S = 0.02
"""Least counted steps and least length of a block: the shorter a turn, the less the machine changes within it."""

LEAST_TURNS = 20
LEAST_TURNS_OF_CHECK = 40
"""Turns before the first look, time permitting; the self-check needs more, some of each kind."""

LEAST_TURNS_S = 3.0
"""Seconds, or as long as the build took, which is about the cost of another process: that tells more than more turns of
this one.
"""

SLOW_STEP_S = 0.005
"""Seconds after which the effects of a switch (caches, the allocator's order) are over."""

_MANY_TURNS = 10
_OVERTIME = 1.25
_HEARTBEAT_S = 0.3


def measure_blocks(launch: RunningJob) -> Result:
    """Measures the job's arms. Raises what a workload raises, Unsupported if an arm cannot run here, SettingsMismatch
    if a setting does not hold after a switch, and Interrupted if no turn was finished.
    """
    import torch

    return _Session(launch, torch).run()


class _Session:
    def __init__(self, launch: RunningJob, torch: Any) -> None:
        self._launch, self._torch = launch, torch
        self._job = launch.job
        self._order = random.Random(launch.job.order)
        self._replicas: dict[str, Replica] = {}
        self._turns: list[Turn] = []
        self._began_s = time.perf_counter()
        self._originals = Originals()

    def run(self) -> Result:
        self._launch.enter("build")
        loop.create_context(accelerator_of(self._job.case.device))
        with ExitStack() as open_replicas:
            open_replicas.callback(self._close)
            self._build()
            self._launch.enter("measuring")
            self._take_turns()
            if not self._turns:
                raise Interrupted("it was ended before every arm had its first block")
            self._launch.findings += self._originals.findings()
            for arm in self._job.arms:
                self._replicas[arm.name].judge()
            self._launch.enter("closing")
        return self._compared() if self._job.kind == "contest" else self._result()

    def _build(self) -> None:
        """Builds all replicas in random order, because the first gets different memory; leaves out the twin if there is
        no room.
        """
        twin = [JobArm(name=TWIN, case=self._job.arms[0].case)] if self._job.twin else []
        for wanted in ([*self._job.arms, *twin], list(self._job.arms)):
            self._order.shuffle(wanted)
            try:
                for arm in wanted:
                    self._replicas[arm.name] = Replica(arm, self._launch, self._torch)
                    self._replicas[arm.name].build()
            except BaseException as error:
                if len(wanted) == len(self._job.arms) or shortage(error) is None:
                    raise
            else:
                return
            self._close()
            gc.collect()
            memory = accelerator_of(self._job.case.device).memory
            if memory is not None:
                memory.empty_cache()

    def _close(self) -> None:
        for replica in self._replicas.values():
            replica.launch.findings += replica.close()
        if not self._turns:
            self._replicas.clear()

    def _take_turns(self) -> None:
        plan_blocks(list(self._replicas.values()), self._job.measure)
        for replica in self._replicas.values():
            replica.begin()
        first, *others = (arm.name for arm in self._job.arms)
        steps_per_block = max(replica.kept * replica.group for replica in self._replicas.values())
        pairs = [(first, other) for other in others]
        enough_s = max(LEAST_TURNS_S, time.perf_counter() - self._began_s) if self._job.kind == "blocks" else None
        watch = _TurnsWatch(self._launch, pairs, len(self._replicas), steps_per_block, enough_s)
        with no_garbage_collection():
            previous: str | None = None
            for order in orders(sorted(self._replicas), self._order.randrange(2**32)):
                turn = self._turn(order, previous, watch)
                if turn is None:
                    return
                previous = order[-1]
                self._turns.append(turn)
                if watch.over(self._turns):
                    return

    def _turn(self, order: list[str], previous: str | None, watch: "_TurnsWatch") -> Turn | None:
        """One turn; None if it was cut short."""
        times_s: dict[str, float] = {}
        after: dict[str, str | None] = {}
        for name in order:
            replica = self._replicas[name]
            replica.switch_to()
            value_s = replica.run_block(watch.cut)
            if value_s is None:
                return None
            times_s[name], after[name] = value_s, previous
            previous = name
        return Turn(times_s, after)

    def _compared(self) -> Result:
        """How the arms of a contest compare, without figures of each, which come from their launches."""
        known = levels(self._turns)
        speeds = {name: replica.log_speed(known[name]) for name, replica in self._replicas.items()}
        replicas = self._replicas.values()
        return Result(
            turns=Turns(
                num_turns=len(self._turns),
                log_speeds={name: speed for name, speed in speeds.items() if name != TWIN},
                twin=speeds.get(TWIN),
                threads=self._torch.get_num_threads() if self._job.case.device_type == "cpu" else None,
                waits_left_out=all(replica.leaves_waits_out for replica in replicas),
            ),
            findings=(*self._launch.finish(), *(entry for each in replicas for entry in each.launch.findings)),
            marks={
                f"block_s_{place}": tuple(turn.times_s[name] for turn in self._turns)
                for place, name in enumerate(sorted(self._replicas))
            },
            interrupted=self._launch.stop(),
        )

    def _result(self) -> Result:
        first = self._job.arms[0].name
        over = self._launch.stop()
        arms = tuple(
            arm_result(self._replicas[arm.name], self._turns, None if arm.name == first else first, interrupted=over)
            for arm in self._job.arms
        )
        windows = [arm.window for arm in arms if arm.window is not None]
        has_twin, findings = TWIN in self._replicas, self._launch.finish()
        twin_marks = {"twin_ratios": tuple(ratios(self._turns, first, TWIN))} if has_twin else {}
        return Result(
            window=Window(
                start_s=min(each.start_s for each in windows),
                end_s=max(each.end_s for each in windows),
                num_steps=sum(each.num_steps for each in windows),
                num_samples=sum(each.num_samples for each in windows),
            ),
            findings=findings,
            arms=arms,
            self_check=self_check(self._turns, first, TWIN) if has_twin else None,
            interrupted=over,
            marks=self._launch.marks | twin_marks,
        )


def plan_blocks(replicas: list[Replica], measure: Measure) -> None:
    """Sets the steps per block: few, so that the arms of a turn run under the same conditions, and slow steps get
    several turns too. After a switch one step is not counted if steps take 5 ms, else two.
    """
    steps = {replica: max(BLOCK_STEPS, round(BLOCK_S / replica.step_s)) for replica in replicas}
    for replica in replicas:
        replica.dropped_steps = 1 if replica.step_s >= SLOW_STEP_S else DROPPED_STEPS
    turn_s = sum((replica.dropped_steps + number) * replica.step_s for replica, number in steps.items())
    share = min(1.0, measure.max_time * len(replicas) / _MANY_TURNS / turn_s)
    for replica, number in steps.items():
        replica.plan_blocks(max(1, int(number * share)))


class _TurnsWatch:
    """Ends the turns when every ratio is as precise as the suite asks, or at its limits times the number of replicas.

    In an A/B also when they took as long as the rest of the process, and `min_time`: a verdict depends on differences
    between processes, and equal shares cost at most twice the optimum (Kalibera and Jones 2013, section 6.2).
    """

    def __init__(
        self,
        launch: RunningJob,
        pairs: list[tuple[str, str]],
        num_replicas: int,
        steps_per_block: int,
        enough_s: float | None,
    ) -> None:
        measure = launch.job.measure
        self._launch, self._pairs = launch, pairs
        self._began_s = self._beat_s = time.perf_counter()
        self._latest_s = self._began_s + _OVERTIME * measure.max_time * num_replicas
        self._least_turns = LEAST_TURNS_OF_CHECK if launch.job.twin else LEAST_TURNS
        self._enough_s = math.inf if enough_s is None else max(enough_s, measure.min_time)
        self._num_turns = 0
        self._looks: list[StopDecision] = []
        self._rules = [
            StoppingRule(
                target_rel_ci=measure.target_rel_ci,
                min_time_s=measure.min_time * (1 if enough_s is not None else num_replicas),
                max_time_s=measure.max_time * num_replicas,
                min_steps=max(self._least_turns, measure.min_steps // steps_per_block),
                max_steps=max(1, measure.max_steps // steps_per_block),
            )
            for _ in pairs
        ]

    def cut(self) -> bool:
        """Whether to end a turn midway: on request, or long after the time limit, unless it is the first."""
        late = self._num_turns > 0 and time.perf_counter() > self._latest_s
        return late or self._launch.stop()

    def over(self, turns: list[Turn]) -> bool:
        self._num_turns = len(turns)
        elapsed_s = time.perf_counter() - self._began_s
        if any(rule.due(len(turns), elapsed_s) for rule in self._rules):
            self._looks = [
                rule.look(ratios(turns, *pair), elapsed_s) for rule, pair in zip(self._rules, self._pairs, strict=True)
            ]
            gc.collect()
            if all(look.stop for look in self._looks):
                return True
        self._tell(turns)
        return self._launch.stop() or (elapsed_s >= self._enough_s and len(turns) >= self._least_turns)

    def _tell(self, turns: list[Turn]) -> None:
        now = time.perf_counter()
        if now - self._beat_s < _HEARTBEAT_S:
            return
        self._beat_s = now
        widths = [look.rel_half_width for look in self._looks if look.rel_half_width is not None]
        step_time_s = turns[-1].times_s[self._launch.job.arms[0].name]
        self._launch.sender.offer(
            Progress(num_steps=len(turns), step_time_s=step_time_s, rel_half_width=max(widths, default=None))
        )
