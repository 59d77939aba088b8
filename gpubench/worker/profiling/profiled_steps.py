"""The worker's half of `gpubench profile`: one case, warmed up, then exactly N steady steps while a profiler listens.

    python -u -m gpubench.worker.profiling.profiled_steps FOLDER/job.json

Every range that a tool should see is opened by the listener here or, for phases, by the workload through it; nothing
waits for the device between steps.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpubench.core.errors import GpubenchError
from gpubench.protocol.profile_job import MEMORY_SNAPSHOT, RESULT_FILE, ProfileJob, ProfileResult
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import DeviceMemory, accelerator_of
from gpubench.worker.failures import shortage
from gpubench.worker.profiling.listeners import Listener, listener_for
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import Step, Unsupported
from gpubench.worker.workloads.registry import resolve

_MEMORY_EVENTS = 200_000


def main(arguments: list[str]) -> int:
    """Runs the job in the file named and writes the result beside it. Status 0 if the steps were captured, else 1."""
    if len(arguments) != 1:
        print("usage: python -m gpubench.worker.profiling.profiled_steps JOB.json", file=sys.stderr)  # noqa: T201
        return 2
    job = ProfileJob.model_validate_json(Path(arguments[0]).read_bytes())
    result = run(job)
    path = job.folder / RESULT_FILE
    partial = path.with_suffix(".partial")  # the parent may look at any moment
    partial.write_text(result.model_dump_json(by_alias=True, indent=1))
    partial.replace(path)
    return 0 if result.status == "ok" else 1


def run(job: ProfileJob) -> ProfileResult:
    """The job's result; every failure of the case becomes one with its reason. The log holds the traceback."""
    import torch

    try:
        return _run(job, torch)
    except Unsupported as error:
        return ProfileResult(status="unsupported", reason=str(error))
    except GpubenchError as error:
        return ProfileResult(status="failed", reason=f"{error} {error.hint}".strip())
    except Exception as error:  # noqa: BLE001 - a case's failure is a result; whatever it raised is shown
        traceback.print_exc()
        short = shortage(error)
        if short is not None:
            return ProfileResult(status="oom", reason=str(short).partition("\n")[0])
        return ProfileResult(status="failed", reason=f"{type(error).__name__}: {error}")


def _run(job: ProfileJob, torch: Any) -> ProfileResult:
    effective_settings.prepare(job.case, torch)
    listener = listener_for(job)
    device = torch.device(job.case.device)
    workload: Any = resolve(job.case.workload, job.search_path, phases=listener.phase, download=job.download)
    step = workload.build(job.case, device)
    wait = accelerator_of(device).synchronize
    try:
        result = _capture(job, listener, step, wait)
        probe = workload.probe() if hasattr(workload, "probe") else None
        return result.model_copy(update={"effective": effective_settings.read_back(job.case, probe, device)})
    finally:
        optional_facts.close(workload)


def _capture(job: ProfileJob, listener: Listener, step: Step, wait: Callable[[], None]) -> ProfileResult:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
