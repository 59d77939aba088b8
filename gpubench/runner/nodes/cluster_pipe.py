"""A job whose ranks are on several nodes."""

import time
from typing import Any

from gpubench.core.records import Failure, RankRecord
from gpubench.protocol.join_results import STRAGGLER, joined
from gpubench.protocol.messages import (
    STUCK,
    Exited,
    Failed,
    Hello,
    Job,
    Meeting,
    NodePlace,
    Phase,
    Progress,
    Result,
    Started,
)
from gpubench.protocol.node_messages import NodeDone, NodeJob, NodeWindow, StopJob
from gpubench.runner.launch.job_pipe import Garbage, Heard, HostLost, describe_exit
from gpubench.runner.nodes.cluster import ClusterNode
from gpubench.runner.nodes.cluster_telemetry import ClusterTelemetry, state_of
from gpubench.runner.nodes.nodes_pipe import NodesPipe

_GRACE_S = 2.0
"""How long other nodes may go on after the first failure. Their own failures are less telling."""


class ClusterPipe(NodesPipe):
    """`nodes` are those of its ranks, or why there are too few; `pid` stands for its process.

    The first node reports the endpoint at which it waits; then the others get the job. The first failure is the
    launch's: ranks that wait for the failed one fail a little later, or are ended.
    """

    def __init__(
        self, pid: int, telemetry: ClusterTelemetry, number: int, job: Job, nodes: list[ClusterNode] | str, wake_fd: int
    ) -> None:
        self._pid, self._telemetry, self._number = pid, telemetry, number
        self._problem = nodes if isinstance(nodes, str) else None
        self._nodes: list[ClusterNode] = [] if isinstance(nodes, str) else nodes
        super().__init__(job, self._nodes, wake_fd)
        self._asked: set[int] = set()
        self._done: dict[int, NodeDone | None] = {}
        self._results: dict[int, Result] = {}
        self._failed: list[tuple[int, Failed]] = []
        self._garbage: str | None = None
        self._host_lost: str | None = None
        self._windows: dict[int, NodeWindow] = {}
        self._kill_at_s: float | None = None
        telemetry.forget()
        if self._nodes:
            self._ask(0, None)

    def stop(self, *, now: bool) -> None:
        for rank, node in enumerate(self._nodes):
            if rank in self._asked and rank not in self._done:
                node.send(StopJob(job=self._job.job, now=now))

    def wait(self, timeout_s: float) -> list[Heard] | None:
        if self._problem is not None:
            why, self._problem = self._problem, None
            return [self._lost(why), Exited(job=self._job.job, pid=0, exit_code=1)]
        if self._kill_at_s is not None:
            timeout_s = max(0.0, min(timeout_s, self._kill_at_s - time.monotonic()))
        ready, heard = self._read(timeout_s)
        if self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
            self._kill_at_s = None
            self.stop(now=True)
        if self._asked and self._asked <= self._done.keys():
            heard += self._end()
        return heard if ready or heard else None

    def _ask(self, rank: int, meeting: str | None) -> None:
        place = None
        if len(self._nodes) > 1:
            place = NodePlace(num_nodes=len(self._nodes), node_rank=rank, meeting=meeting)
        self._asked.add(rank)
        job = self._job.model_copy(update={"place": place})
        self._nodes[rank].send(NodeJob(number=self._number, job=job, telemetry=self._job.measure.telemetry))
        if not self._nodes[rank].ready:
            self._lose(rank)

    def _gone(self, node: ClusterNode) -> None:
        rank = self._nodes.index(node)
        if rank not in self._done:
            self._lose(rank)

    def _take(self, node: ClusterNode, message: Any, heard: list[Heard]) -> None:
        rank = self._nodes.index(node)
        if isinstance(message, Meeting):
            if rank == 0:
                for other in range(1, len(self._nodes)):
                    self._ask(other, message.endpoint)
        elif isinstance(message, Result):
            ranks = tuple(each.model_copy(update={"node": node.number, "host": node.host}) for each in message.ranks)
            found = tuple(each for each in message.findings if each.code != STRAGGLER)  # judged again over all ranks
            self._results[rank] = message.model_copy(update={"ranks": ranks, "findings": found})
        elif isinstance(message, Failed):
            self._fail(rank, message)
        elif isinstance(message, Phase) and STUCK in message.name:
            heard.append(message)  # whichever node's rank it is
        elif rank == 0 and isinstance(message, Hello | Started | Phase | Progress):
            heard.append(message)

    def _fail(self, rank: int, failed: Failed) -> None:
        self._failed.append((rank, failed))
        if self._kill_at_s is None:
            self._kill_at_s = time.monotonic() + _GRACE_S

    def _lose(self, rank: int) -> None:
        """Records that a node's agent, and with it the worker, has ended."""
        node = self._nodes[rank]
        self._done[rank] = None
        self._fail(rank, self._lost(f"{node.name}: {node.problem}"))

    def _lost(self, why: str) -> Failed:
        failure = Failure(phase="starting", error="NodeLost", message=why)
        return Failed(status="failed", reason=why, failure=failure)

    def _finish(self, node: ClusterNode, done: NodeDone) -> None:
        rank = self._nodes.index(node)
        self._done[rank] = done
        self._windows |= done.windows
        if done.log:
            self._keep_log(f"--- {node.name}\n{done.log}" if len(self._nodes) > 1 else done.log)
        if done.host_lost is not None and not self._failed:
            self._host_lost = self._host_lost or f"{node.name}: {done.host_lost}"
        self._garbage = self._garbage or done.garbage
        has_reported = rank in self._results or any(each == rank for each, _ in self._failed)
        if not has_reported:
            if self._kill_at_s is None:
                self._kill_at_s = time.monotonic() + _GRACE_S
            code = done.exit_code
            if code and not self._failed and done.host_lost is None:
                why = f"its process ended without a result ({describe_exit(code)})"
                self._failed.append((rank, self._lost(why)))

    def _end(self) -> list[Heard]:
        """The outcome of the whole launch, once every node has finished the job."""
        heard: list[Heard] = []
        self._asked = set()
        if self._host_lost is not None and not self._failed:
            return [HostLost(self._host_lost)]
        if self._garbage is not None:
            heard.append(Garbage(self._garbage))
        elif self._failed:
            heard.append(self._first_failure())
        elif len(self._results) == len(self._nodes):
            results = [self._results[rank] for rank in sorted(self._results)]
            results = [self._with_telemetry(each) for each in results]
            heard.append(joined(self._job.case, results) if len(results) > 1 else results[0])
            self._telemetry.keep(self._windows)
        codes = [done.exit_code or 0 if done is not None else 1 for done in self._done.values()]
        heard.append(Exited(job=self._job.job, pid=self._pid, exit_code=next((c for c in codes if c), 0)))
        return heard

    def _first_failure(self) -> Failed:
        """The failure of the node that failed first. A rank that only waits for others is not the cause."""
        rank, failed = next(
            ((rank, each) for rank, each in self._failed if each.failure is None or each.failure.error != "RankWaits"),
            self._failed[0],
        )
        node = self._nodes[rank]
        reason = failed.reason if node.name in failed.reason else f"{node.name}: {failed.reason}"
        failure = failed.failure and failed.failure.model_copy(update={"message": reason, "log": self._job.log})
        return failed.model_copy(update={"reason": reason, "failure": failure})

    def _with_telemetry(self, result: Result) -> Result:
        return result.model_copy(update={"ranks": tuple(self._rank(each) for each in result.ranks)})

    def _rank(self, rank: RankRecord) -> RankRecord:
        window = self._windows.get(rank.rank)
        if window is None:
            return rank
        return rank.model_copy(update={"telemetry": state_of(window)})
