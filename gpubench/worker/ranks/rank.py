"""One rank: a process that measures its part of a case, together with the others."""

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpubench.protocol.messages import Failed, Job, Message, Phase, Result, decode, encode
from gpubench.suite.model.case import Case
from gpubench.worker.process.channel import Channel
from gpubench.worker.process_lifetime import die_with, flush_output
from gpubench.worker.ranks.board import Board, show_phase, show_start

SHOW_STACK = signal.SIGUSR1
"""Makes a rank write its Python stack to its `.stack` file, even while it waits inside torch."""

RunJob = Callable[..., None]

_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
_LET_THE_FIRST_BE_SEEN_S = 0.5
"""A failing rank makes the others fail. Each waits this long before it ends, so that the first to end is the cause."""


def case_of_rank(case: Case, local_rank: int) -> Case:
    """The case that one rank measures: on its own device, with its share of a shared batch. Ranks that each hold a part
    of the model take the whole batch. `local_rank` is its number on this machine.
    """
    changes: dict[str, Any] = {}
    if case.device_type == "cuda":
        changes["device"] = f"cuda:{int(case.device.partition(':')[2] or 0) + local_rank}"
    if case.is_collective:
        pass  # a batch is a number of calls
    elif case.scaling == "strong" and not case.splits_model:
        changes["batch_size"] = case.batch // case.world_size
    elif case.scaling == "weak" and case.splits_model:
        changes["batch_size"] = case.batch * case.world_size
    return case.model_copy(update=changes)


def outcome_file(scratch: Path, rank: int) -> Path:
    return scratch / f"rank-{rank}.json"


def stack_file(scratch: Path, rank: int) -> Path:
    return scratch / f"rank-{rank}.stack"


class RankSender:
    """Writes the outcome to a file for the agent, and sends the first rank's progress to the parent."""

    def __init__(self, file: Path, row: "memoryview[float]", channel: Channel | None) -> None:
        self._file, self._row, self._channel = file, row, channel
        self.outcome: Result | Failed | None = None

    def send(self, message: Message) -> None:
        if isinstance(message, Result | Failed):
            self.outcome = message
            return
        if isinstance(message, Phase):
            show_phase(self._row, message.name)
        if self._channel is not None:
            self._channel.send(message)

    def offer(self, message: Message) -> bool:
        return self._channel is not None and self._channel.offer(message)

    def keep(self, outcome: Result | Failed) -> None:
        """Writes the file atomically."""
        part = self._file.with_suffix(".part")
        part.write_bytes(encode(outcome))
        part.replace(self._file)


def main(
    run_job: RunJob,
    job_line: bytes,
    scratch: str,
    agent: int,
    message_fd: int | None,
    threads: int,
    meeting: str,
) -> None:
    """The entry point that the agent gives to `elastic_launch`."""
    die_with(agent)
    rank, place = int(os.environ["RANK"]), Path(scratch)
    with stack_file(place, rank).open("w") as stack:
        faulthandler.register(SHOW_STACK, file=stack, all_threads=False)
        job = decode(job_line)
        assert isinstance(job, Job)
        interface = _LOOPBACK if job.place is None else job.place.interface
        for variable in ("GLOO_SOCKET_IFNAME", *(() if job.place is None else ("NCCL_SOCKET_IFNAME",))):
            if interface is not None:
                os.environ.setdefault(variable, interface)
        _run(run_job, job, rank, place, message_fd if rank == job.first_rank else None, threads, meeting)


def _run(
    run_job: RunJob, job: Job, rank: int, scratch: Path, message_fd: int | None, threads: int, meeting: str
) -> None:
    import torch
    import torch.distributed as dist

    from gpubench.worker.accelerator import accelerator_of
    from gpubench.worker.ranks.meeting import store_of_ranks
    from gpubench.worker.ranks.together import Together

    local_rank = rank - job.first_rank
    board = Board(scratch / "board", job.num_local_ranks)
    row = board.row(local_rank)
    show_start(row)
    if job.case.cpu_threads is None:
        torch.set_num_threads(threads)
    case = case_of_rank(job.case, local_rank)
    job = job.model_copy(update={"case": case})
    sender = RankSender(outcome_file(scratch, rank), row, None if message_fd is None else Channel(message_fd))
    accelerator = accelerator_of(case.device)
    if accelerator.problem() is None:
        accelerator.select()
    store = store_of_ranks(job.place, scratch, meeting, case.world_size)
    dist.init_process_group(case.carrier, store=store, rank=rank, world_size=case.world_size)
    together = Together(board, rank, local_rank)
    run_job(job, sender, stop=together.stop, together=together)
    outcome = sender.outcome
    assert outcome is not None, "every job ends with an outcome"
    if isinstance(outcome, Failed):
        sender.keep(outcome)
        time.sleep(_LET_THE_FIRST_BE_SEEN_S)
        flush_output()
        os._exit(1)
    sender.keep(outcome.model_copy(update={"ranks": (together.record_of(outcome),)}))
    dist.destroy_process_group()
