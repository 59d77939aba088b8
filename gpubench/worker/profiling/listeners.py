"""How steps, phases and the capture are made visible to a profiler."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from gpubench.protocol.profile_job import TORCH_TRACE, ProfileJob
from gpubench.worker.profiling.nvtx import Emitter, open_emitter
from gpubench.worker.workloads.base import Step

TORCH_WARMUP = 2
"""Steps that torch.profiler runs before it keeps events: the first ones pay for its own set-up."""

_NOTHING: AbstractContextManager[None] = nullcontext()


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

    def phase(self, name: str) -> AbstractContextManager[None]:
        if self._profiler is None:
            return _NOTHING
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
        profiler = _torch_profiler(self._job)
        with profiler:
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
        self.trace = str(self._job.folder / TORCH_TRACE)


def _torch_profiler(job: ProfileJob) -> Any:
    from torch import profiler

    activities = [profiler.ProfilerActivity.CPU]
    if job.case.device_type == "cuda":
        activities.append(profiler.ProfilerActivity.CUDA)
    return profiler.profile(
        activities=activities,
        schedule=profiler.schedule(wait=0, warmup=TORCH_WARMUP, active=job.steps, repeat=1),
        on_trace_ready=lambda finished: finished.export_chrome_trace(str(job.folder / TORCH_TRACE)),
    )


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
