"""The worker's half of `gpubench profile`: one case, warmed up, then exactly N steady steps while a profiler listens.

    python -u -m gpubench.worker.profiling.profiled_steps FOLDER/job.json

Every range that a tool should see is opened by the listener or, for phases, by the workload through it; nothing waits
for the device between steps.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from gpubench.core.errors import GpubenchError
from gpubench.protocol.profile_job import (
    MEMORY_SNAPSHOT,
    PARTIAL_RESULT,
    RESULT_FILE,
    TORCH_TRACE,
    ProfileJob,
    ProfileResult,
)
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.device_memory import DeviceMemory
from gpubench.worker.failures import shortage
from gpubench.worker.profiling.nvtx import Emitter, open_emitter
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import Step, Unsupported
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.users_errors import in_one_line

TORCH_WARMUP = 2
"""Steps that torch.profiler runs before it keeps events: the first ones pay for its own set-up."""
_MEMORY_EVENTS = 200_000


def main(arguments: list[str], profile: Callable[[ProfileJob, Any], ProfileResult] | None = None) -> int:
    """Runs the job in the file named and writes the result beside it. Status 0 if the steps were captured, else 1."""
    if len(arguments) != 1:
        print("usage: python -m gpubench.worker.profiling.profiled_steps JOB.json", file=sys.stderr)  # noqa: T201
        return 2
    job = ProfileJob.model_validate_json(Path(arguments[0]).read_bytes())
    del sys.argv[1:]  # they are not for the workload
    if job.working_folder is not None:
        os.chdir(job.working_folder)
    result = run(job, profile)
    path = job.folder / RESULT_FILE
    partial = job.folder / PARTIAL_RESULT  # the parent may look at any moment
    partial.write_text(result.model_dump_json(by_alias=True, indent=1))
    partial.replace(path)
    return 0 if result.status == "ok" else 1


def run(job: ProfileJob, profile: Callable[[ProfileJob, Any], ProfileResult] | None = None) -> ProfileResult:
    """The job's result; every failure of the case becomes one with its reason. The log holds the traceback."""
    import torch

    try:
        return (profile or _run)(job, torch)
    except Unsupported as error:
        return ProfileResult(status="unsupported", reason=str(error))
    except GpubenchError as error:
        return ProfileResult(status="failed", reason=f"{error} {error.hint}".strip())
    except Exception as error:  # noqa: BLE001 - a case's failure is a result; whatever it raised is shown
        traceback.print_exc()
        short = shortage(error)
        if short is not None:
            return ProfileResult(status="oom", reason=str(short).partition("\n")[0])
        return ProfileResult(status="failed", reason=in_one_line(error))


def _run(job: ProfileJob, torch: Any) -> ProfileResult:
    effective_settings.prepare(job.case, torch)
    listener = listener_for(job)
    device = torch.device(job.case.device)
    workload: Any = resolve(
        job.case.workload, job.search_path, params=job.case.params, phases=listener.phase, download=job.download
    )
    step = workload.build(job.case, device)
    wait = accelerator_of(device).synchronize
    try:
        result = _capture(job, listener, step, wait)
        probe = workload.probe() if hasattr(workload, "probe") else None
        return result.model_copy(update={"effective": effective_settings.read_back(job.case, probe, device)})
    finally:
        optional_facts.close(workload)


def _capture(job: ProfileJob, listener: "Listener", step: Step, wait: Callable[[], None]) -> ProfileResult:
    num_warmup = _warm_up(step, wait, job)
    before_s = _timed(lambda: _repeat(step, job.steps), wait) / job.steps
    with _memory_history(job, accelerator_of(job.case.device).memory) as snapshot, listener.capturing(step, wait):
        marked = listener.marked(step)
        profiled_s = _timed(lambda: _repeat(marked, job.steps), wait) / job.steps
    return ProfileResult(
        status="ok",
        steps=job.steps,
        num_warmup=num_warmup,
        step_time_before_s=before_s,
        step_time_s=profiled_s,
        emitter=listener.state,
        trace=listener.trace,
        memory=snapshot,
    )


def _repeat(step: Step, count: int) -> None:
    for _ in range(count):
        step()


def _warm_up(step: Step, wait: Callable[[], None], job: ProfileJob) -> int:
    """Steps until there were enough of them for long enough; waits for the device at the end."""
    started = time.perf_counter()
    count = 0
    while count < job.warmup_steps or time.perf_counter() - started < job.warmup_s:
        step()
        count += 1
        if count % 8 == 0:
            wait()  # or the time limit would count launches only, and the device's queue grow
    wait()
    return count


def _timed(work: Callable[[], None], wait: Callable[[], None]) -> float:
    """Seconds of `work` and the device work that it launches."""
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


@contextmanager
def _memory_history(job: ProfileJob, memory: DeviceMemory | None) -> Iterator[str | None]:
    """Records torch's allocations while open and leaves a snapshot: its path. None on the CPU or if not asked for."""
    if memory is None or not job.memory:
        yield None
        return
    path = job.folder / MEMORY_SNAPSHOT
    memory.record_history(_MEMORY_EVENTS)
    try:
        yield str(path)
    finally:
        memory.save_history(path)


class Listener(Protocol):
    """`state` is what the range emitter said of itself, `trace` the file that the worker itself has written."""

    state: str | None
    trace: str | None

    def phase(self, name: str) -> AbstractContextManager[None]:
        """For the workload: a phase of a step."""

    def marked(self, step: Step) -> Step:
        """`step` inside the range that marks one."""

    def capturing(self, step: Step, wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Open while marked steps are captured. May run `step` before; `wait` waits for the device."""


def listener_for(job: ProfileJob) -> Listener:
    return TorchListener(job) if job.tool == "torch" else NvtxListener(job, open_emitter())


class TorchListener:
    """torch.profiler in this process. `record_function` costs microseconds, so it is used only while recording."""

    def __init__(self, job: ProfileJob) -> None:
        self.state: str | None = None
        self.trace: str | None = None
        self._job = job
        self._profiler: Any = None
        self.record_into(TORCH_TRACE, job.steps)

    def record_into(self, file: str, steps: int, *, shapes: bool = False) -> None:
        """Where the next capture goes, in the job's folder, and how many steps it has. `shapes` adds what operators
        were given, at the cost of their times.
        """
        self._file, self._steps, self._shapes = file, steps, shapes

    def phase(self, name: str) -> AbstractContextManager[None]:
        if self._profiler is None:
            return nullcontext()
        from torch.profiler import record_function

        recorded: AbstractContextManager[None] = record_function(f"gpubench/{name}")
        return recorded

    def marked(self, step: Step) -> Step:
        """Tells the profiler when each step ends; the last ends with the capture, when the device has finished."""
        num_steps = 0

        def run() -> object:
            nonlocal num_steps
            if num_steps:
                self._profiler.step()
            num_steps += 1
            with self.phase("step"):
                return step()

        return run

    @contextmanager
    def capturing(self, step: Step, wait: Callable[[], None]) -> Iterator[None]:
        from torch import profiler as torch_profiler

        activities = [torch_profiler.ProfilerActivity.CPU]
        if self._job.case.device_type == "cuda":
            activities.append(torch_profiler.ProfilerActivity.CUDA)
        path = str(self._job.folder / self._file)
        with torch_profiler.profile(
            activities=activities,
            record_shapes=self._shapes,
            schedule=torch_profiler.schedule(wait=0, warmup=TORCH_WARMUP, active=self._steps, repeat=1),
            on_trace_ready=lambda finished: finished.export_chrome_trace(path),
        ) as profiler:
            for _ in range(TORCH_WARMUP):
                step()
                wait()
                profiler.step()
            self._profiler = profiler
            try:
                yield
            finally:
                self._profiler = None
            profiler.step()
        self.trace = path


class NvtxListener:
    """Ranges of domain `gpubench` for nsys and ncu, which watch from outside.

    Ranges that are open when the capture starts are lost to it, so suite, case and steady are opened inside. ncu lists
    with a kernel the ranges of its own thread and those of the process, so for it phases are of the process: backward
    kernels are launched by autograd's thread.
    """

    def __init__(self, job: ProfileJob, emitter: Emitter) -> None:
        self.state: str | None = emitter.state
        self.trace: str | None = None
        self._job = job
        self._emitter = emitter
        self.phase = emitter.across_threads if job.tool == "ncu" else emitter.phase

    def marked(self, step: Step) -> Step:
        return self._emitter.steps(step)

    @contextmanager
    def capturing(self, step: Step, wait: Callable[[], None]) -> Iterator[None]:  # noqa: ARG002 - the caller has waited
        named = self._emitter.named
        with (
            self._emitter.capture(),
            named(f"suite:{self._job.suite}"),
            named(f"case:{self._job.label}"),
            named("steady"),
        ):
            yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
