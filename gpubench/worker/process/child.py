"""One job in its own process, from its first message to its last."""

import os
import sys
from pathlib import Path

from gpubench.protocol.loaded_files import OpenedFiles, imported_names, loaded_files
from gpubench.protocol.messages import Failed, Hello, Job, Result
from gpubench.suite.model.workload_names import find_file, first_on_the_path, is_users, modules_beside
from gpubench.worker.checks.originals import not_of_the_revision
from gpubench.worker.failures import SettingsMismatch, as_failed, write_traceback
from gpubench.worker.freed_memory import keep_freed_memory
from gpubench.worker.job import TIMED_PHASES, Alone, Interrupted, RunningJob, Sender, Stop
from gpubench.worker.process.channel import Channel
from gpubench.worker.workloads.base import Unsupported

_PEAKS = ("allocated_bytes", "reserved_bytes")


def main(job: Job, message_fd: int, *, no_fork: str | None = None) -> None:
    """Says hello, runs the job and sends its outcome. Anything that happens in the case is a message, not an
    exception.
    """
    channel = Channel(message_fd)
    os.register_at_fork(after_in_child=channel.close)
    stop = Stop()
    stop.listen()
    keep_freed_memory()
    channel.send(Hello(pid=os.getpid(), role="child", python=sys.executable, can_fork=no_fork is None))
    run_job(job, channel, stop=stop, no_fork=no_fork)
    channel.close()


def run_job(
    job: Job, sender: Sender, *, stop: Stop | None = None, no_fork: str | None = None, together: Alone | None = None
) -> None:
    """Sends phases and progress, and in the end exactly one `Result` or `Failed`. `together`: for one of several
    ranks.
    """
    launch = RunningJob(job, sender, stop or Stop(), no_fork=no_fork, together=together)
    opened = OpenedFiles(_folders_of_data(job), lambda: launch.phase not in TIMED_PHASES)
    outcome = _outcome(launch)
    if isinstance(outcome, Result):
        files, data = loaded_files(job.scratch) | outcome.files, opened.digests(job.scratch) | outcome.data_files
        data = {path: digest for path, digest in data.items() if path not in files}
        names = imported_names(files, modules_beside(first_on_the_path(job.search_path)))
        names = tuple(sorted({*names, *outcome.imported}))
        outcome = outcome.model_copy(update={"files": files, "data_files": data, "imported": names})
        wrong = not_of_the_revision(job.search_path)
        if wrong is not None:
            outcome = Failed(status="failed", reason=wrong, effective=launch.effective, findings=outcome.findings)
    sender.send(outcome)


def _folders_of_data(job: Job) -> tuple[str, ...]:
    """Where what the workload reads is part of it: beside the suite, or for a target beside its file."""
    name = job.case.workload.rpartition(":")[0]
    if job.search_path or not is_users(job.case.workload):
        return job.search_path
    file = find_file(name, ()) if name.endswith(".py") else None
    return (str(Path.cwd() if file is None else file.parent),)


def _outcome(launch: RunningJob) -> Result | Failed:
    try:
        if launch.job.kind == "quality":
            from gpubench.worker.quality.train_case import train_case

            return train_case(launch)
        if launch.job.kind in ("blocks", "contest"):
            from gpubench.worker.ab.blocks import measure_blocks

            return measure_blocks(launch)
        if launch.job.case.world_size > 1 and not launch.together.several:
            from gpubench.worker.ranks.agent import measure_ranks

            return measure_ranks(launch, run_job)
        from gpubench.worker.measure_case import measure

        return measure(launch)
    except Interrupted as error:
        absent = {"accuracy" if launch.job.kind == "quality" else "step_time_s": str(error)}
        return Result(
            effective=launch.effective, absent=absent, findings=launch.finish(), marks=launch.marks, interrupted=True
        )
    except BaseException as error:  # noqa: BLE001 - every end of a case is a row, even sys.exit
        return _failed(launch, error)


def _failed(launch: RunningJob, error: BaseException) -> Failed:
    peaks = _device_peaks(launch)
    unlogged = ""
    if not isinstance(error, Unsupported | SettingsMismatch):
        try:
            write_traceback(error)
        except (OSError, ValueError) as lost:  # the row must not be lost with its log; ValueError: stderr was closed
            unlogged = f"; its log could not be written: {str(getattr(lost, 'strerror', None) or lost).lower()}"
    failed = as_failed(error, launch.phase, peaks=peaks, log=launch.job.log, effective=launch.effective)
    found = (*launch.findings, *failed.findings)
    return failed.model_copy(update={"findings": found, "reason": f"{failed.reason}{unlogged}"})


def _device_peaks(launch: RunningJob) -> dict[str, int]:
    """Of the device's allocator, in bytes; none where it was not used, or cannot be asked any more: an illegal memory
    access makes every later call fail, and the row is about the first.
    """
    if "torch" not in sys.modules:  # perhaps its import failed
        return {}
    from gpubench.worker.accelerator import accelerator_of

    try:
        accelerator = accelerator_of(launch.job.case.device)
        if accelerator.memory is None or accelerator.problem() is not None:
            return {}
        known = accelerator.memory.statistics()
    except RuntimeError:
        return {}
    return {name: known[f"{name}.all.peak"] for name in _PEAKS if known.get(f"{name}.all.peak") is not None}
