"""Launches a case with several ranks: starts the processes, watches them, and joins their results.

torch.distributed.elastic starts the ranks and, when one ends, ends the others. Ranks on one machine meet through a
file, so no other program can take their port and none is open to the network. Ranks on several machines meet at a port
that the first machine opens on one interface (`ranks.meeting`).
"""

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from gpubench.core.records import Failure
from gpubench.core.units import format_duration
from gpubench.protocol.join_results import joined
from gpubench.protocol.messages import STUCK, Failed, Phase, Result, decode, encode
from gpubench.worker.checks.unsupported import refused_of_ranks
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.process import device_query
from gpubench.worker.process_lifetime import CAN_FORK
from gpubench.worker.ranks import rank as one_rank
from gpubench.worker.ranks.board import Board, Sign
from gpubench.worker.ranks.meeting import RENDEZVOUS, Meet
from gpubench.worker.ranks.strategies.seam import refused
from gpubench.worker.workloads.base import Unsupported

HANG_S = 10.0
"""A rank that ends no step for this long hangs, or for 20 times the longest step of any rank, if that is longer."""

_TIMES_LONGER = 20.0
_TOLD_AT = 0.8
"""Share of the launch's timeout after which ranks without a step are looked at: the first one may compile for long."""

_TICK_S = 0.2
_STACK_S = 0.3
_LONGEST_NAME = 100
_WAITS_INSIDE = f"{Path(torch.__file__).parent}{os.sep}"
"""A rank whose innermost Python frame is in this folder waits for the device or for another rank."""


def measure_ranks(launch: RunningJob, run_job: one_rank.RunJob) -> Result | Failed:
    """The joined figures of all ranks, or which rank failed and how. Interrupted if there is no result to join.

    `run_job` is what each rank does with its job (`process.child.run_job`).
    """
    job = launch.job
    assert job.scratch is not None, "the parent gives every job a folder"
    reason = refused_of_ranks(job.case) or refused(job.case)
    if reason is not None:
        raise Unsupported(reason)
    scratch, num_ranks = Path(job.scratch), job.num_local_ranks
    watch = RankWatch(launch, Board(scratch / "board", num_ranks), scratch)
    meet = Meet.of(job.place, scratch, launch.sender)
    descriptor = getattr(launch.sender, "fd", None) if CAN_FORK else None
    message_fd = None if descriptor is None else os.dup(descriptor)  # a forked process closes the one it inherits
    threads = max(1, torch.get_num_threads() // num_ranks) if job.case.device_type == "cpu" else torch.get_num_threads()
    with device_query.untouched():
        config = LaunchConfig(
            min_nodes=meet.num_nodes,
            max_nodes=meet.num_nodes,
            nproc_per_node=num_ranks,
            run_id=f"launch-{os.getpid()}",
            rdzv_backend=RENDEZVOUS,
            rdzv_endpoint=meet.endpoint,
            rdzv_configs={"meet": meet},
            max_restarts=0,
            monitor_interval=0.05,
            start_method="fork" if CAN_FORK else "spawn",
            logs_specs=DefaultLogsSpecs(log_dir=str(scratch / "elastic")),
        )
    config.numa_options = None  # torch would ask CUDA in this process which GPU is near which CPU
    arguments = (run_job, encode(job), str(scratch), os.getpid(), message_fd, threads, meet.endpoint)
    exits: dict[int, int] = {}
    try:
        with watch.looking():
            elastic_launch(config, one_rank.main)(*arguments)
    except ChildFailedError as error:
        exits = {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException:  # told to stop while elastic's handler was installed
        launch.stop.requested = True
    finally:
        if message_fd is not None:
            os.close(message_fd)
    return _outcome(launch, watch, exits)


def _outcome(launch: RunningJob, watch: "RankWatch", exits: dict[int, int]) -> Result | Failed:
    job, scratch = launch.job, watch.scratch
    num_ranks, first_rank = job.num_local_ranks, job.first_rank
    of = f"of {job.case.world_size}"
    messages: dict[int, Result | Failed] = {}
    for rank in range(first_rank, first_rank + num_ranks):
        file = one_rank.outcome_file(scratch, rank)
        if file.exists():
            message = decode(file.read_bytes())
            assert isinstance(message, Result | Failed)
            messages[rank] = message
    results = [message for message in messages.values() if isinstance(message, Result)]
    if watch.hung is not None:
        return _failed(launch, watch.hung.phase, watch.hung.error, watch.hung.reason)
    if not exits and len(results) == num_ranks:
        joined_result = joined(launch.job.case, results)
        return joined_result.model_copy(update={"findings": (*launch.findings, *joined_result.findings)})
    if launch.stop() and not exits:
        raise Interrupted("it was stopped before its ranks had measured anything")
    failed_rank = min(exits, default=first_rank)
    failed = messages.get(failed_rank)
    if isinstance(failed, Failed):
        alike = {each.reason for each in messages.values() if isinstance(each, Failed)} == {failed.reason}
        if alike and len(messages) == num_ranks:
            return failed
        return failed.model_copy(update={"reason": f"rank {failed_rank} {of}: {failed.reason}"})
    phase = watch.board.sign(failed_rank - first_rank).phase
    reason = f"rank {failed_rank} {of} {_how_it_ended(exits.get(failed_rank, 0))} in {phase}"
    return _failed(launch, phase, "RankDied", reason)


def _failed(launch: RunningJob, phase: str, error: str, reason: str) -> Failed:
    failure = Failure(phase=phase, error=error, message=reason, log=launch.job.log)
    return Failed(status="failed", reason=reason, failure=failure, findings=tuple(launch.findings))


def _how_it_ended(exit_code: int) -> str:
    if exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with status {exit_code} and no result"


class HungRank:
    """`error` is `RankWaits` if all ranks of this machine wait for a rank on another one."""

    def __init__(self, phase: str, error: str, reason: str) -> None:
        self.phase, self.error, self.reason = phase, error, reason


class RankWatch:
    """Checks the ranks a few times a second, in the main thread: no thread may exist while ranks are forked.

    Passes on the request to stop, and kills a rank whose steps have stopped; elastic then ends the others.
    """

    def __init__(self, launch: RunningJob, board: Board, scratch: Path) -> None:
        self.board, self.scratch = board, scratch
        self.hung: HungRank | None = None
        self.launch, self._num_ranks = launch, launch.job.num_local_ranks
        self._asks = signal.getsignal(signal.SIGTERM)
        self._look_at_start_s = time.monotonic() + _TOLD_AT * launch.job.measure.timeout

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        before = signal.signal(signal.SIGALRM, self.look)
        signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.signal(signal.SIGTERM, self._asks)

    def look(self, *_: object) -> None:
        if signal.getsignal(signal.SIGTERM) is not self._asks:
            signal.signal(signal.SIGTERM, self._asks)  # elastic's handler would end ranks in the middle of a step
        if self.launch.stop():
            self.board.stop()
        if self.hung is None:
            signs = [self.board.sign(rank) for rank in range(self._num_ranks)]
            # All ranks wait for the slowest one, so they share one limit, set by the longest step of any.
            patience_s = max(HANG_S, _TIMES_LONGER * max(sign.longest_s for sign in signs))
            waits_s = [time.monotonic() - sign.since_s if sign.since_s > 0 else 0.0 for sign in signs]
            if max(waits_s) > patience_s:
                self._name(signs, max(waits_s))
            elif not any(waits_s) and time.monotonic() > self._look_at_start_s:
                self._look_at_start_s = math.inf
                self._say_who_waits(signs)

    def _say_who_waits(self, signs: list[Sign]) -> None:
        """Before the first step only the launch's own limit is certain. It stays, and its reason will name the rank."""
        guilty, found, where = self._guilty(signs)
        signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)
        if found or self.launch.job.place is None:
            name = f"{signs[guilty[0]].phase}, {STUCK} {self._names(guilty)} ({where.rpartition(os.sep)[2]})"
            self.launch.sender.send(Phase(name=name[:_LONGEST_NAME], at_s=time.monotonic()))

    def _guilty(self, signs: list[Sign]) -> tuple[list[int], bool, str]:
        """The ranks that the others wait for, by their stacks; whether these tell them apart; where the first is."""
        signal.setitimer(signal.ITIMER_REAL, 0)  # the timer must not call `look` again
        for sign in signs:
            _signal(sign.pid, one_rank.SHOW_STACK)
        time.sleep(_STACK_S)
        first, everyone = self.launch.job.first_rank, list(range(self._num_ranks))
        places = [_innermost(one_rank.stack_file(self.scratch, first + rank)) for rank in everyone]
        found = [rank for rank in everyone if not (places[rank] or "").startswith(_WAITS_INSIDE)]
        guilty = found or everyone
        return guilty, bool(found), places[guilty[0]] or "it does not answer"

    def _names(self, ranks: list[int]) -> str:
        job, word = self.launch.job, "rank" if len(ranks) == 1 else "ranks"
        return f"{word} {', '.join(str(job.first_rank + rank) for rank in ranks)} of {job.case.world_size}"

    def _name(self, signs: list[Sign], waited_s: float) -> None:
        """Finds the rank that the others wait for by its stack, and kills it."""
        guilty, found, where = self._guilty(signs)
        reason = f"{self._names(guilty)} made no step for {format_duration(waited_s)} ({where})"
        error = "RankHung" if found or self.launch.job.place is None else "RankWaits"
        self.hung = HungRank(signs[guilty[0]].phase, error, reason)
        for rank in guilty:
            _signal(signs[rank].pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    """Does nothing for a rank that has not reported its process id yet, or has ended."""
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _innermost(file: Path) -> str | None:
    """`slow.py:12 in forward`, from faulthandler's output; None if there is none."""
    lines = [line.strip() for line in file.read_text(errors="replace").splitlines()] if file.exists() else []
    frame = next((line for line in lines if line.startswith("File ")), None)
    if frame is None:
        return None
    path, _, rest = frame.removeprefix("File ").partition(", line ")
    number, _, function = rest.partition(" in ")
    return f"{path.strip(chr(34))}:{number} in {function}"
