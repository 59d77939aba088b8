"""One job on a host, with its telemetry, log, clock and events."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gpubench.core.anonymity import hide_homes
from gpubench.core.errors import StoreError
from gpubench.protocol import start_module
from gpubench.protocol.messages import Job, Phase, Progress, Result
from gpubench.runner.events import LaunchPhase, LaunchProgress, Listener, Notice
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.job_on_host import Launching, Limits
from gpubench.runner.launch.outcome import LaunchOutcome, last_error
from gpubench.runner.launch.recorder import shared
from gpubench.runner.launch.worker_hosts import AnyHost, HostKey, HostPool, device_index
from gpubench.store.atomic_files import open_own, store_error, tidy_log
from gpubench.store.run_writer import RunWriter
from gpubench.telemetry.run_telemetry import TelemetrySession


class Attempts:
    """Runs jobs, one at a time. Worker failures raise nothing."""

    def __init__(
        self, writer: RunWriter, telemetry: TelemetrySession, guard: Guard, listener: Listener, limits: Limits
    ) -> None:
        self._writer, self._telemetry, self._guard, self._tell = writer, telemetry, guard, listener
        self._limits = limits
        self._num_jobs = 0
        self._said_stopping = False
        self._said_changed: set[str] = set()

    def next_number(self) -> int:
        self._num_jobs += 1
        return self._num_jobs

    def run(self, pool: HostPool, job: Job, label: str, *, times: int = 1) -> LaunchOutcome:
        """If the host dies during the job, it is replaced and the job tried once more.

        `times` multiplies the timeout, for a job that stands for several launches. WorkerError if no host can be
        started.
        """
        host = pool.get(HostKey.of(job.case))
        outcome = self._run(host, job, times)
        if outcome.host_lost is None:
            return outcome
        pool.discard(host)
        if self._guard.stopping:
            self._tell(Notice(f"{outcome.host_lost} during {label!r}"))
            return outcome
        hint = "A new one is started, and the launch is done again."
        self._tell(Notice(f"{outcome.host_lost} during {label!r}", hint))
        host = pool.get(HostKey.of(job.case))
        outcome = self._run(host, job.model_copy(update={"job": self.next_number()}), times)
        if outcome.host_lost is not None:
            pool.discard(host)
            self._tell(Notice(f"{outcome.host_lost} during {label!r}"))
        return outcome

    def _run(self, host: AnyHost, job: Job, times: int) -> LaunchOutcome:
        log = Path(job.log)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)  # an earlier attempt removes the folder if it is empty
            os.close(open_own(log, os.O_WRONLY | os.O_CREAT))  # or the worker would follow a link
        except OSError as error:
            raise store_error("write", log, error) from error
        on_gpu, index = job.case.device_type == "cuda", device_index(job.case)
        devices = [device for device in host.hello.devices if on_gpu and device.get("index") == index]
        elsewhere = host.telemetry
        if elsewhere is None:
            self._telemetry.track(devices[0] if devices else None)
            self._telemetry.before_launch()
        started_unix_s, began_s = time.time(), self._limits.clock()
        scratch = tempfile.mkdtemp(dir=start_module.scratch_folder())
        job = job.model_copy(update={"scratch": scratch})
        try:
            outcome = Launching(host, job, self._guard, self._notify(job), self._limits, times=times).run()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # a killed child left it behind
        outcome.started_unix_s, outcome.wall_s = started_unix_s, self._limits.clock() - began_s
        answer = outcome.answer
        if isinstance(answer, Result) and answer.window is not None and answer.window.duration_s > 0:
            window, idle = answer.window, answer.marks.get("idle_s")
            if elsewhere is not None:
                outcome.window = elsewhere.window()
            else:
                outcome.window = self._telemetry.window(
                    window.start_s, window.end_s, window.num_samples, idle=(idle[0], idle[1]) if idle else None
                )
                burst = answer.marks.get("burst_s")
                if burst:
                    self._telemetry.state_during(outcome.window, burst[0], burst[1])
            if job.case.world_size > 1:
                outcome.window = shared(outcome.window, "only the device of the first rank was sampled")
        outcome.noticed = self._telemetry.after_launch() if elsewhere is None else ()
        if isinstance(answer, Result) and answer.files:
            self._note_files(answer.files | answer.data_files, answer.imported)
        self._say_if_stopping()
        if outcome.killed == "timeout":
            outcome.log_error = last_error(log)
        outcome.log = self._keep_log(log)
        return outcome.judge()

    def _note_files(self, files: dict[str, str], imported: tuple[str, ...]) -> None:
        """Stores in the run's head which files the workloads used; reports a file that has changed."""
        info = self._writer.info
        files = {hide_homes(path) if info.is_anonymous else path: each for path, each in files.items()}
        changed = [path for path, digest in files.items() if info.workload_files.get(path, digest) != digest]
        for path in changed:
            if path not in self._said_changed:
                self._said_changed.add(path)
                hint = "What was measured before and after differs: start a new run."
                self._tell(Notice(f"{path} was changed during the run", hint))
        known = info.workload_files.keys(), set(info.imported)
        if not (files.keys() <= known[0] and known[1].issuperset(imported)):
            names = tuple(sorted(known[1].union(imported)))
            changes = {"workload_files": files | info.workload_files, "imported": names}
            self._writer.update_info(info.model_copy(update=changes))

    def _say_if_stopping(self) -> None:
        if self._guard.stopping and not self._said_stopping:
            self._said_stopping = True
            self._tell(Notice("stopping: the running step is finished and stored", "Ctrl-C again stops at once."))

    def _notify(self, job: Job) -> Callable[[Phase | Progress | None], None]:
        last = Progress(num_steps=0)

        def notify(message: Phase | Progress | None) -> None:
            nonlocal last
            self._say_if_stopping()
            if isinstance(message, Phase):
                self._telemetry.phase(message.name)
                last = Progress(num_steps=0)
                self._tell(LaunchPhase(message.name))
                return
            last = message or last
            steps, target = (last.num_steps, last.step_time_s, last.rel_half_width), job.measure.target_rel_ci
            self._tell(LaunchProgress(*steps, target, last.fraction, self._telemetry.live()))

        return notify

    def _keep_log(self, log: Path) -> str | None:
        """The log's path in the run folder. An empty log is removed, a long one shortened, and secrets are withheld."""
        with contextlib.suppress(OSError, StoreError):
            tidy_log(log)
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > 0:
                inside = log.relative_to(self._writer.folder.resolve())  # a worker knows its log by its absolute path
                return self._writer.relative(self._writer.folder / inside)
            log.unlink()
        with contextlib.suppress(OSError):
            log.parent.rmdir()  # it stays if another launch of the case left files there
        return None
