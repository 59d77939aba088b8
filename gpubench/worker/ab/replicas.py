"""One arm of a comparison, built in the same process as the others: its model, and the settings it needs.

Settings of the whole process (precision of products, cuDNN's flags) are applied and read back at every switch; those of
the model (layout, optimizer, compiled graph) are fixed by its build.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import Any

from gpubench.core.cpus import own_delay_s, usable_cpus
from gpubench.core.findings import Finding, finding
from gpubench.protocol.messages import JobArm
from gpubench.worker import effective_settings
from gpubench.worker.ab.process_state import changes, process_state
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.checks import after_steps
from gpubench.worker.checks import parity as parity_check
from gpubench.worker.checks.recount import WorkCount
from gpubench.worker.checks.unsupported import unsupported
from gpubench.worker.failures import SettingsMismatch
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.timing import loop
from gpubench.worker.timing.drawn_batches import DrawnBatches
from gpubench.worker.timing.timers import Block, Verdict, no_garbage_collection, timer_for
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import Phases, Unsupported
from gpubench.worker.workloads.compiled import CompileStats, graphs_made
from gpubench.worker.workloads.registry import resolve

DROPPED_STEPS = 2
"""Steps after a switch that are not counted, because they are affected by what ran before."""

_LEAST_OWN_SHARE = 0.01


class Replica:
    """An arm from its build to its end. `blocks` holds every block it ran, whole, and `own_s` the times per step of the
    last one's counted groups, without waits for a busy CPU; in seconds.
    """

    def __init__(self, arm: JobArm, launch: RunningJob, torch: Any, phases: Phases | None = None) -> None:
        self.name, self.case = arm.name, arm.case
        self._phases = phases
        self.blocks: list[Block] = []
        self.own_s: list[float] = []
        self.num_steps = 0
        self.dropped_steps = DROPPED_STEPS
        self.peak_bytes: int | None = None
        self._torch = torch
        self._accelerator = accelerator_of(arm.case.device)
        self.device, self._wait = self._accelerator.device, self._accelerator.synchronize
        job = launch.job.model_copy(update={"case": arm.case, "label": f"{launch.job.label} [{arm.name}]"})
        self.launch = RunningJob(job, launch.sender, launch.stop)
        self._workload: Any = None
        self._step: Any = None

    def build(self) -> None:
        """Model, optimizer and first steps. Raises what the workload raises, Unsupported, or SettingsMismatch."""
        reason = unsupported(self.case)
        if reason is not None:
            raise Unsupported(f"arm {self.name}: {reason}")
        effective_settings.apply(self.case, self._torch)
        shared = process_state(self._torch)
        job = self.launch.job
        compiled_before = optional_facts.compile_stats(self.case)
        self._graphs_before = 0 if compiled_before is None else graphs_made()
        memory, held = self._accelerator.memory, 0
        if memory is not None:
            memory.free_workspaces()  # or the arm built first would pay for all
            held = memory.allocated()
        self._workload = resolve(
            self.case.workload, job.search_path, params=self.case.params, phases=self._phases, download=job.download
        )
        self.samples_per_step: float = optional_facts.samples_per_step(self._workload, self.case)
        self._drawn = DrawnBatches(self.case)
        self._step = optional_facts.build(self._workload, self.case, self.device)
        self._wait()
        if memory is not None:
            memory.reset_peak()
        self._warm_up()
        if memory is not None:
            self.peak_bytes = memory.peak() - held
        self._read_back(before=True)
        self._work = WorkCount(self.case)
        self._work.watch(self._step)
        self._keep_shared(shared)
        self._flags = self._read_flags()
        compiled = optional_facts.compile_stats(self.case)
        self._compiled: CompileStats | None = None
        if compiled is not None and compiled_before is not None:
            # Code that torch had compiled for another arm does not count as a recompilation of this one.
            self._compiled = compiled.since(compiled_before)._replace(recompilations=0)
        optional_facts.reset_health(self._workload)

    def begin(self) -> None:
        """Called when every arm is built: later compilations happen in measured steps."""
        self._compiled_by_all = optional_facts.compile_stats(self.case)

    def switch_to(self) -> None:
        """Applies this arm's settings to the process. SettingsMismatch if one does not hold."""
        effective_settings.apply(self.case, self._torch)
        found = self._read_flags()
        if found != self._flags:
            wrong = {name: got for name, got in found.items() if got != self._flags[name]}
            after = f"after the switch to arm {self.name}, and not as when it was built."
            raise SettingsMismatch(
                tuple(
                    finding("GB301", f"{name} was {got} {after}", setting=name, got=got, when="switch")
                    for name, got in wrong.items()
                )
            )

    def plan_blocks(self, num_steps: int) -> None:
        """Sets the number of counted steps per block, in whole groups."""
        self.dropped = math.ceil(self.dropped_steps / self.group)
        self.kept = max(1, math.ceil(num_steps / self.group))

    def run_block(self, stopped: Callable[[], bool]) -> float | None:
        """Median seconds per step of one block's counted groups, without waits for a busy CPU; None if cut short."""
        watch = _BlockWatch(self.dropped + self.kept, stopped, waits=self.leaves_waits_out)
        with self._drawn:
            block = self.timer.run(self._step, self.group, watch)
        self.num_steps += len(block.times_s) * self.group
        if len(block.times_s) < self.dropped + self.kept:
            return None
        self.blocks.append(block)
        self.own_s = [each / self.group for each in watch.own_times(block.times_s)[self.dropped :]]
        return median(self.own_s)

    @contextmanager
    def steps(self) -> Iterator[tuple[Callable[[], object], Callable[[], None]]]:
        """The bare step and what waits for its device, for a profiler to run between blocks."""
        with self._drawn, no_garbage_collection():
            yield self._step, self._wait

    def judge(self) -> None:
        """Checks that the steps did their work with the requested settings: findings, or SettingsMismatch."""
        self.switch_to()
        self._keep_shared(self._shared)
        self.samples_per_step = after_steps.samples_done(
            self.launch, self._workload, self.samples_per_step, self._drawn
        )
        self.told = after_steps.health(self.launch, self._workload, self.case, self.num_steps)
        now, begun, in_all = optional_facts.compile_stats(self.case), self._compiled_by_all, None
        if now is not None and begun is not None and self._compiled is not None:
            in_all = self._compiled.plus(now.since(begun))  # by its build, or by any arm since the turns began
        compiled = after_steps.compiler(self.launch, self.case, self._compiled, in_all)
        self.told = (self.told[0] | compiled[0], self.told[1] | compiled[1])
        self._read_back(before=False)
        self.launch.findings += self._work.after_steps(self._step)

    def log_speed(self, log_step_s: float) -> float:
        """Log of samples per second (for latency, requests), from the log of a step's seconds."""
        return -log_step_s if self.case.timing == "latency" else math.log(self.samples_per_step) - log_step_s

    def close(self) -> list[Finding]:
        """Releases the step too, so that its device memory is free for `check_output`."""
        self._step = None
        return [] if self._workload is None else after_steps.close(self._workload)

    def check_output(self, throughput: float | None) -> Any:
        """Parity with fp64 (in the first launch) and FLOPs. Call it after `close`."""
        effective_settings.apply(self.case, self._torch)
        parity, told = parity_check.checked(self.launch, self._workload, self.case, self.device)
        flops = after_steps.flops(self.launch, self._workload, self.case, throughput)
        self.told = (self.told[0] | told[0] | flops[0], self.told[1] | told[1] | flops[1])
        return parity

    def _warm_up(self) -> None:
        measure = self.launch.job.measure
        with self._drawn:
            first = loop.first_steps(self._step, self._wait, measure, self.launch.stop)
        if not first.times_s:
            raise Interrupted("it was stopped before its first step ended")
        self.step_s, self.group = first.typical_s, 1
        if self.case.timing != "latency":
            if self._accelerator.asynchronous:
                self.step_s, _ = loop.following(self._step, self._wait, first.typical_s)
            self.group = loop.group_size(self.step_s, measure)
        self.timer = timer_for(self.case.timing, self._accelerator)
        self.leaves_waits_out = (
            self.timer.clock == "perf_counter" and self.case.timing != "latency" and self._has_room()
        )

    def _keep_shared(self, before: dict[str, object]) -> None:
        """Unsupported if this arm, or one measured since, changed state shared by all arms of the process."""
        self._shared = process_state(self._torch)
        found = changes(before, self._shared)
        if found:
            raise Unsupported(f"arm {self.name} changes what the arms of a process share ({', '.join(found)})")

    def _has_room(self) -> bool:
        """Whether there are at least as many CPUs as threads of this arm, so that only other programs can make it
        wait.
        """
        usable = usable_cpus() or 1
        return own_delay_s() is not None and self._torch.get_num_threads() <= usable

    def _read_flags(self) -> dict[str, Any]:
        return {**effective_settings.math_modes(self._torch), **effective_settings.cudnn_flags(self._torch)}

    def _read_back(self, *, before: bool) -> None:
        told = optional_facts.probe(self._workload, self.case, self._step, self._graphs_before)
        effective = effective_settings.read_back(self.case, told, self.case.device)
        self.launch.effective = effective
        effective_settings.check(self.case, effective, before=before)
        after_steps.note_doubts(self.launch, self._workload, effective)


class _BlockWatch:
    """Ends a block after `num_groups` groups. With `waits`, reads after each how long this thread waited for a CPU."""

    def __init__(self, num_groups: int, stopped: Callable[[], bool], *, waits: bool) -> None:
        self._left, self._stopped = num_groups, stopped
        self._delays_s: list[float] | None = [own_delay_s() or 0.0] if waits else None

    def __call__(self, _now_ns: int) -> Verdict:
        self._left -= 1
        if self._delays_s is not None:
            self._delays_s.append(own_delay_s() or 0.0)
        if self._left <= 0 or self._stopped():
            return Verdict.END
        return Verdict.GO_ON if self._delays_s is None else Verdict.PAUSED

    def own_times(self, times_s: Sequence[float]) -> list[float]:
        """The groups' times minus their waits; a wait between two groups may be longer than either."""
        if self._delays_s is None:
            return list(times_s)
        waited = [after - before for before, after in pairwise(self._delays_s)]
        return [max(time_s - wait_s, time_s * _LEAST_OWN_SHARE) for time_s, wait_s in zip(times_s, waited, strict=True)]
