"""One job in a process of its own, from its first message to its last."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Protocol

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective
from gpubench.spec.protocol import Failed, Hello, Job, Message, Phase, Result
from gpubench.worker.channel import Channel
from gpubench.worker.failures import SettingsMismatch, as_failed, write_traceback
from gpubench.worker.workloads.base import Unsupported


class Sender(Protocol):
    """Where messages go: a `Channel`, or a list in a test."""

    def send(self, message: Message) -> None: ...

    def offer(self, message: Message) -> bool: ...


class Interrupted(Exception):  # noqa: N818 - somebody asked for it
    """The job was told to stop before it had anything to show."""


class Stop:
    """Whether somebody asked the job to end early. The step that runs is always finished."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def listen(self) -> None:
        """SIGTERM asks. Processes that a workload forks get the signal's usual meaning back: it ends them."""
        signal.signal(signal.SIGTERM, self._request)
        os.register_at_fork(after_in_child=_forget_signals)

    def _request(self, *_: object) -> None:
        self.requested = True


def _forget_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Launch:
    """What a running job has come to so far: the phase it is in, the settings read back, what to say beside the figures."""

    def __init__(self, job: Job, sender: Sender, stop: Stop, *, no_fork: str | None = None) -> None:
        self.job, self.sender, self.stop = job, sender, stop
        self.phase = "starting"
        self.effective: Effective | None = None
        self.findings: list[Finding] = []
        self.marks: dict[str, tuple[float, ...]] = {}
        self.peaks: dict[str, int] = {}
        self._entered_s = time.monotonic()
        self._log_bytes = _size(job.log)
        if no_fork is not None:
            self.findings.append(finding("GB101", f"The case ran in a fresh process: {no_fork}."))

    def enter(self, phase: str) -> None:
        """Tells the parent where the job is, and marks the edges of the phase before on `time.monotonic()`."""
        now = time.monotonic()
        self._leave(now)
        self.phase, self._entered_s = phase, now
        self.sender.send(Phase(name=phase, at_s=now))

    def _leave(self, now: float) -> None:
        if self.phase != "starting":
            self.marks[f"phase_{self.phase}_s"] = (self._entered_s, now)

    def finish(self) -> tuple[Finding, ...]:
        """Closes the last phase; every finding, with GB103 if anything was written to the log."""
        self._leave(time.monotonic())
        sys.stdout.flush()
        sys.stderr.flush()
        written = _size(self.job.log) - self._log_bytes
        if written > 0:
            self.findings.append(
                finding(
                    "GB103", f"The workload, or a library it uses, wrote {written} bytes to its log.", num_bytes=written
                )
            )
        return tuple(self.findings)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def main(job: Job, message_fd: int, *, no_fork: str | None = None) -> None:
    """Says hello, runs the job and sends what came of it. Whatever happens in the case is a message, not an exception."""
    channel = Channel(message_fd)
    os.register_at_fork(after_in_child=channel.close)
    stop = Stop()
    stop.listen()
    channel.send(Hello(pid=os.getpid(), role="child", python=sys.executable, can_fork=no_fork is None))
    run_job(job, channel, stop=stop, no_fork=no_fork)
    channel.close()


def run_job(job: Job, sender: Sender, *, stop: Stop | None = None, no_fork: str | None = None) -> None:
    """Sends phases and progress, and in the end exactly one `Result` or `Failed`."""
    launch = Launch(job, sender, stop or Stop(), no_fork=no_fork)
    sender.send(_outcome(launch))


def _outcome(launch: Launch) -> Result | Failed:
    try:
        if launch.job.kind == "quality":
            from gpubench.worker.training import train

            return train(launch)
        if launch.job.kind == "blocks":
            from gpubench.worker.blocks import measure_blocks

            return measure_blocks(launch)
        from gpubench.worker.measuring import measure

        return measure(launch)
    except Interrupted as error:
        absent = {"accuracy" if launch.job.kind == "quality" else "step_time_s": str(error)}
        return Result(
            effective=launch.effective, absent=absent, findings=launch.finish(), marks=launch.marks, interrupted=True
        )
    except BaseException as error:  # noqa: BLE001 - sys.exit of a workload included: every end of a case is a row
        return _failed(launch, error)


def _failed(launch: Launch, error: BaseException) -> Failed:
    peaks = _device_peaks(launch.job.case.device_type)
    if not isinstance(error, Unsupported | SettingsMismatch):
        write_traceback(error)
    failed = as_failed(error, launch.phase, peaks=peaks, log=launch.job.log, effective=launch.effective)
    return failed.model_copy(update={"findings": (*launch.findings, *failed.findings)})


def _device_peaks(device_type: str) -> dict[str, int]:
    """The device allocator's peaks, in bytes; nothing where CUDA was not used."""
    torch = sys.modules.get("torch")
    if device_type != "cuda" or torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }
