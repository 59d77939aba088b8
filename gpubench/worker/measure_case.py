"""One measurement from context to result, in an order in which no part disturbs another.

Cold figures come first, before anything else has used the device. Settings are read back after the first steps and
after the last. Memory is read before health, because health may run a batch; parity runs after the workload is closed.
"""

import time
from contextlib import ExitStack
from functools import partial
from typing import Any

from gpubench.core.records import Effective
from gpubench.protocol.messages import Result
from gpubench.suite.model.case import Case
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.batch_search import largest_batch
from gpubench.worker.batch_search.trial import TrialMemory, give_back_at_once, with_headroom
from gpubench.worker.checks import after_steps
from gpubench.worker.checks import parity as parity_check
from gpubench.worker.checks.originals import Originals
from gpubench.worker.checks.physics import faster_than_physics
from gpubench.worker.checks.recount import WorkCount
from gpubench.worker.checks.work_after_steps import work_after_steps
from gpubench.worker.checks.work_counts import count_flops
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.profiling.nvtx import Emitter, open_emitter
from gpubench.worker.timing import loop
from gpubench.worker.timing.burst import burst_figures
from gpubench.worker.timing.device_busy import device_busy
from gpubench.worker.timing.drawn_batches import DrawnBatches
from gpubench.worker.timing.launch_figures import Figures, figures
from gpubench.worker.timing.memory import Memory, MemoryWatch
from gpubench.worker.timing.timers import LatencyTimer, Step, timer_for
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.compiled import cold_caches
from gpubench.worker.workloads.registry import resolve

IDLE_S = 0.6
"""Seconds; enough for several updates of a power sensor."""


def measure(launch: RunningJob) -> Result:
    """Measures the job's case. Raises what the workload raises; Interrupted without a single step."""
    import torch

    return _Measurement(launch, torch).run()


class _Measurement:
    def __init__(self, launch: RunningJob, torch: Any) -> None:
        self._launch, self._torch = launch, torch
        self._job, self._case, self._together = launch.job, launch.job.case, launch.together
        self._accelerator = accelerator_of(self._case.device)
        self._device, self._on_gpu = self._accelerator.device, self._accelerator.asynchronous
        self._wait = self._accelerator.synchronize
        self._metrics: dict[str, float | None] = {}
        self._absent: dict[str, str] = {}
        self._largest: dict[str, Any] = {}
        self._originals = Originals()

    def run(self) -> Result:
        if self._case.batch_size == "max":
            self._find_largest()
        with cold_caches(self._case.compile, self._job.scratch):
            return self._run()

    def rehearse(self, case: Case, found: TrialMemory) -> None:
        """Uses memory like `run`, in the same order and under the same limit, but with two steps instead of many, to
        see whether the measurement of a batch would fit. For a process that ends afterwards.
        """
        self._case = case
        self._prepare()
        found.limit_bytes = self._limit_memory()
        workload, step = self._build(open_emitter())
        self._few(step)
        with self._memory.aside():
            self._look(workload, step)
        optional_facts.reset_health(workload)
        self._few(step)
        found.peak_bytes = self._memory.read().metrics["peak_memory_allocated_bytes"]
        optional_facts.health(workload)
        self._look(workload, step)
        optional_facts.close(workload)

    def _few(self, step: Step) -> None:
        for _ in range(2):  # the second is the first with the optimizer's state allocated
            step()
        self._wait()

    def _run(self) -> Result:
        self._launch.enter("build")
        self._prepare()
        if self._job.case.batch_size == "max":
            self._limit_memory()
        self._stand_idle()
        emitter = open_emitter()
        with ExitStack() as ranges:
            for name in (f"suite:{self._job.suite}", f"case:{self._job.label or self._case.workload}"):
                ranges.enter_context(emitter.named(name))
            workload, bare_step = self._build(emitter)
            try:
                measured, found, memory = self._measure(workload, bare_step, emitter)
                if not self._launch.stop():
                    # Extra passes, which are part of no figure of the measured steps.
                    if measured.timing == "latency":
                        self._put("latency_floor_s", LatencyTimer(self._wait).floor_s())
                    self._put("device_idle_share", *self._idle_share(bare_step, measured))
                    self._burst(workload, bare_step)
                    self._merge(self._together.figures(workload, bare_step, self._metrics, self._case))
            except BaseException:
                after_steps.close(workload)  # still in the failed phase, which the row names
                raise
            self._launch.enter("closing")
            self._launch.findings += after_steps.close(workload)
            del bare_step  # frees its device memory for the parity check
        return self._result(workload, measured, found, memory)

    def _find_largest(self) -> None:
        """Finds the batch, before anything in this process has touched the device."""
        known = self._job.largest_batch
        if known is not None:
            self._case = largest_batch.with_batch(self._case, known)
        else:
            self._launch.enter("searching")
            self._case, found = largest_batch.resolve(self._launch, self.rehearse)
            self._largest = {"largest_batch": found.facts()}
            for name, value in found.metrics().items():
                self._put(name, value, "a single batch was tried")
        if not self._on_gpu:
            give_back_at_once()

    def _prepare(self) -> None:
        context_s = loop.create_context(self._accelerator)
        self._put("cuda_context_s", context_s, None if context_s is not None else "the case runs on the CPU")
        effective_settings.prepare(self._case, self._torch)

    def _limit_memory(self) -> int | None:
        """Keeps the headroom of a largest batch free, and returns the bytes left to use. None on a CPU, where trials
        limit the address space.
        """
        memory = self._accelerator.memory
        if memory is None:
            return None
        allowed = with_headroom(memory.free_and_total()[0])
        memory.limit(allowed)
        return allowed

    def _stand_idle(self) -> None:
        if self._on_gpu and self._job.measure.telemetry != "off":
            began = time.monotonic()
            time.sleep(IDLE_S)  # holds the context and does nothing, to measure idle power
            self._launch.marks["idle_s"] = (began, time.monotonic())

    def _build(self, emitter: Emitter) -> tuple[Any, Step]:
        workload = resolve(
            self._case.workload,
            self._job.search_path,
            params=self._case.params,
            phases=emitter.phase,
            download=self._job.download,
        )
        self._samples_per_step = optional_facts.samples_per_step(workload, self._case)
        self._together.take_in(workload, self._case)
        self._memory, self._work = MemoryWatch(self._accelerator.memory), WorkCount(self._case)
        began = time.perf_counter()
        try:
            step = self._together.watched(optional_facts.build(workload, self._case, self._device))
            self._wait()
        except BaseException:
            after_steps.close(workload)
            raise
        self._put("build_s", time.perf_counter() - began)
        self._memory.start_peaks()
        return workload, step

    def _measure(self, workload: Any, bare_step: Step, emitter: Emitter) -> tuple[loop.Measured, Figures, Memory]:
        drawn = DrawnBatches(self._case)
        with drawn:
            first = self._first_steps(emitter, bare_step)
        with self._memory.aside():
            self._read_back(workload, bare_step, emitter, first_time=True)
            if not self._together.several:
                optional_facts.renew_inputs(workload)
                self._work.watch(bare_step)
        self._launch.findings += self._originals.findings()
        compiled_before = optional_facts.compile_stats(self._case)
        over = first.over or self._launch.stop()  # asked once, so that counters and series cover the same steps
        if not over:
            optional_facts.reset_health(workload)
        told_before = [0 if over else len(waits or ()) for waits in optional_facts.waits_s(workload)]
        blocking_copies = self._on_gpu and self._case.data_path == "pageable"
        with drawn:
            measured = self._steps(workload, first, bare_step, emitter, over=over)
        self._wait()
        self._after_last_step(measured)
        memory = self._memory.read()
        input_waits_s, device_waits_s = (
            None if waits is None else waits[skipped:]
            for waits, skipped in zip(optional_facts.waits_s(workload), told_before, strict=True)
        )
        found = figures(
            measured,
            samples_per_step=after_steps.samples_done(self._launch, workload, self._samples_per_step, drawn),
            target_rel_ci=self._job.measure.target_rel_ci,
            on_gpu=self._on_gpu,
            input_waits_s=input_waits_s,
            device_waits_s=device_waits_s,
            blocking_copies=blocking_copies,
        )
        self._steps_wait = blocking_copies or bool(device_waits_s)
        num_steps, compiled = measured.num_steps or len(first.times_s), optional_facts.compile_stats(self._case)
        self._merge(
            (found.metrics, found.absent),
            (memory.metrics, memory.absent),
            after_steps.health(self._launch, workload, self._case, num_steps, exact=not over),
            after_steps.workload_figures(self._launch, workload),
            after_steps.contents(workload, found.metrics.get("throughput")),
            after_steps.compiler(self._launch, self._case, compiled_before, compiled),
        )
        self._launch.findings += after_steps.compiles_itself(self._case)
        self._read_back(workload, bare_step, emitter, first_time=False)
        if not self._launch.stop() and not self._together.several:
            self._launch.findings += self._work.after_steps(bare_step)
            optional_facts.last_output(workload, bare_step)
        before_series = 0 if measured.num_leading else self._num_before
        self._put("first_step_s", first.cold_s)
        self._put("warmup_steps", float(before_series + found.series.num_warmup * measured.group))
        self._put("time_to_steady_s", found.window.start_s - first.began_s)
        return measured, found, memory

    def _first_steps(self, emitter: Emitter, step: Step) -> loop.FirstSteps:
        self._launch.enter("warmup")
        with emitter.named("warmup"):
            first = loop.first_steps(
                emitter.steps(step), self._wait, self._job.measure, self._launch.stop, self._together.agree
            )
            if not first.times_s:
                raise Interrupted("it was stopped before its first step ended")
            self._group, num_more = 1, 0
            if not first.over and self._case.timing != "latency":
                step_s = self._together.agree(first.typical_s)
                if self._on_gpu:
                    step_s, num_more = loop.following(step, self._wait, step_s)
                self._group = loop.group_size(self._together.agree(step_s), self._job.measure)
        self._num_before = len(first.times_s) + num_more
        self._launch.marks["first_steps_s"] = tuple(first.times_s)
        return first

    def _after_last_step(self, measured: loop.Measured) -> None:
        self._launch.enter("checking")
        self._launch.findings += self._originals.findings()
        if not self._together.several and not self._launch.stop():
            going_on = work_after_steps(measured.series_s, measured.series_s / len(measured.times_s) / measured.group)
            self._launch.findings += [] if going_on is None else [going_on]

    def _steps(
        self, workload: Any, first: loop.FirstSteps, step: Step, emitter: Emitter, *, over: bool
    ) -> loop.Measured:
        self._launch.enter("measuring")
        timer, measure = timer_for(self._case.timing, self._accelerator), self._job.measure
        if over:
            return loop.only_first_steps(timer, first, stopped=self._launch.stop(), max_time_s=measure.max_time)
        rule = loop.stopping_rule(measure, self._group, first.cold_s, on_gpu=self._on_gpu)
        rule = self._together.rule(rule, first.typical_s * self._group)
        with emitter.named("steady"):
            return loop.measure_steps(
                emitter.steps(step, first=self._num_before),
                timer,
                rule,
                first,
                group=self._group,
                stopped=self._launch.stop,
                notify=self._launch.sender.offer,
                between=partial(optional_facts.sample_output, workload) if self._samples_outputs else lambda: None,
            )

    @property
    def _samples_outputs(self) -> bool:
        return self._job.parity and not self._together.several

    def _read_back(self, workload: Any, step: Step, emitter: Emitter, *, first_time: bool) -> None:
        """SettingsMismatch as soon as a setting is not as requested, because further figures would not be the
        case's.
        """
        effective = self._look(workload, step)
        if self._job.case.batch_size == "max" and effective.batch_size is None:
            # A workload that does not report its batch was given the one that was found.
            effective = effective.model_copy(update={"batch_size": self._case.batch})
        self._launch.effective = _with_extra(effective, nvtx=emitter.state)
        effective_settings.check(self._case, effective, before=first_time)
        after_steps.note_doubts(self._launch, workload, effective)

    def _look(self, workload: Any, step: Step) -> Effective:
        told = optional_facts.probe(workload, self._case, step)
        return effective_settings.read_back(self._case, told, self._case.device)

    def _idle_share(self, step: Step, measured: loop.Measured) -> tuple[float | None, str | None]:
        if not self._on_gpu:
            return None, "the case runs on the CPU"
        if self._together.several:
            return None, "ranks cannot hold their devices back at the same time"
        enqueue_s, step_time_s = self._metrics.get("host_enqueue_s"), self._metrics.get("step_time_s")
        if enqueue_s is None or step_time_s is None:
            return None, self._absent.get("host_enqueue_s", self._absent.get("step_time_s"))
        if self._case.data_path == "loader":
            return None, "the device cannot be held back while a loader is waited for"
        if self._steps_wait:
            return None, "the device cannot be held back while a step waits for it"
        busy = device_busy(step, measured.group, enqueue_s * measured.group, self._accelerator)
        return (None, busy.reason) if busy.step_s is None else (max(0.0, 1 - busy.step_s / step_time_s), None)

    def _burst(self, workload: Any, step: Step) -> None:
        """Of a workload that is an arithmetic ceiling."""
        if not getattr(workload, "shows_burst", False):
            return
        flops = count_flops(workload, self._case).per_sample
        flops_per_step = None if flops is None else flops * self._samples_per_step
        told, window = burst_figures(step, self._metrics.get("step_time_s"), flops_per_step, self._accelerator)
        self._merge(told)
        if window is not None:
            self._launch.marks["burst_s"] = window

    def _result(self, workload: Any, measured: loop.Measured, found: Figures, memory: Memory) -> Result:
        parity = None
        if not self._launch.stop():
            if self._together.checks_output(workload):
                parity, told = parity_check.checked(self._launch, workload, self._case, self._device)
                self._merge(told)
            parity_check.check_outputs(self._launch, workload, self._case, self._device)
            self._launch.findings += self._work.against_model(workload)
            self._merge(self._together.compare(self._launch, workload, self._case, self._device))
            flops = after_steps.flops(self._launch, workload, self._case, self._metrics.get("throughput"))
            self._merge(flops, after_steps.traffic(self._launch, workload, self._case))
            too_fast = faster_than_physics(self._metrics.get("achieved_flops"), self._case, self._accelerator)
            self._launch.findings += [] if too_fast is None else [too_fast]
        enqueue_s = tuple(each for block in measured.blocks for each in block.enqueue_s)
        self._launch.marks |= {
            "block_starts_s": tuple(block.started_s for block in measured.blocks),
            "block_groups": tuple(float(len(block.times_s)) for block in measured.blocks),
            **({"host_enqueue_s": enqueue_s} if enqueue_s else {}),
        }
        effective = self._launch.effective
        if effective is not None:
            self._merge(after_steps.model_size(effective))
            effective = _with_extra(effective, peak_rss_source=memory.source, **self._largest)
        return Result(
            effective=effective,
            window=found.window,
            series=found.series,
            metrics=self._metrics,
            absent=self._absent,
            parity=parity,
            findings=(*found.findings, *self._launch.finish()),
            step_times_s=tuple(measured.times_s),
            marks=self._launch.marks,
            interrupted=measured.reason == "interrupted",
        )

    def _put(self, name: str, value: float | None, reason: str | None = None) -> None:
        self._metrics[name] = value
        if value is None:
            self._absent[name] = reason or "not measured"

    def _merge(self, *told: after_steps.Metrics) -> None:
        for metrics, absent in told:
            self._metrics |= metrics
            self._absent |= absent


def _with_extra(effective: Effective, **extra: Any) -> Effective:
    return effective.model_copy(update={"extra": {**effective.extra, **extra}})
