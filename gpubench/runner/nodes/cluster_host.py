"""Worker hosts on all nodes of a run, with the interface of a single `Host`."""

import os
import selectors
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from gpubench.core.errors import WorkerError
from gpubench.core.records import Failure, RankRecord
from gpubench.protocol.join_results import STRAGGLER, joined
from gpubench.protocol.messages import (
    STUCK,
    Exited,
    Failed,
    Hello,
    Job,
    Meeting,
    NodeFacts,
    NodePlace,
    Phase,
    Progress,
    Result,
    Started,
)
from gpubench.protocol.node_messages import (
    EndHost,
    FromChild,
    HostFailed,
    HostReady,
    NodeDone,
    NodeJob,
    NodeWindow,
    StartHost,
    StopJob,
)
from gpubench.runner.launch.job_pipe import Garbage, Heard, HostLost, describe_exit
from gpubench.runner.launch.worker_hosts import START_TIMEOUT_S, HostKey
from gpubench.runner.nodes.cluster import Cluster, ClusterNode
from gpubench.runner.nodes.cluster_telemetry import ClusterTelemetry, state_of
from gpubench.runner.nodes.fleet_pipe import FleetPipe, turns_of
from gpubench.store.atomic_files import open_own

_GRACE_S = 2.0
"""How long other nodes may go on after the first failure. Their own failures are less telling."""

_SAME = ("torch", "gpubench", "cuda")


class ClusterHosts:
    """Starts a host on every node for each `HostKey`."""

    def __init__(self, cluster: Cluster, ranks_per_node: int | None, modules: Sequence[str]) -> None:
        self.cluster, self._ranks_per_node, self._modules = cluster, ranks_per_node, tuple(modules)
        self._num_hosts = 0

    def start(self, key: HostKey, log: Path) -> "ClusterHost":
        """WorkerError if no node can start a host."""
        self._num_hosts += 1
        return ClusterHost(self.cluster, key, log, self._num_hosts, self._modules, self._ranks_per_node)


class ClusterHost:
    """One host on every ready node. `hello` is that of the first node, with facts of all."""

    def __init__(
        self,
        cluster: Cluster,
        key: HostKey,
        log: Path,
        number: int,
        modules: tuple[str, ...],
        ranks_per_node: int | None,
    ) -> None:
        self.cluster, self.key, self.log, self._number = cluster, key, log, number
        began_s = time.monotonic()
        start = StartHost(number=number, python=key.python, env=dict(key.env), modules=modules)
        for node in cluster.nodes:
            if node.ready:
                node.send(start)
        self._hellos, problems = self._gather(began_s + START_TIMEOUT_S)
        self._refuse_others(problems)
        if not self._hellos:
            why = "; ".join(f"{node.name}: {problems.get(node.index, node.problem)}" for node in cluster.nodes)
            raise WorkerError(f"no node has a worker host: {why}")
        first = next(iter(self._hellos.values()))
        self.ranks_per_node = ranks_per_node or max(1, len(first.devices))
        facts = [
            NodeFacts(
                number=node.number,
                host=node.host,
                num_devices=len(self._hellos[node.index].devices) if node.index in self._hellos else 0,
                problem=problems.get(node.index, node.problem),
            )
            for node in cluster.nodes
        ]
        self.hello = first.model_copy(update={"nodes": tuple(facts), "ranks_per_node": self.ranks_per_node})
        self.seconds = time.monotonic() - began_s
        self.telemetry = ClusterTelemetry()
        self._pipe: ClusterPipe | FleetPipe | None = None

    @property
    def pid(self) -> int:
        """Process id of the first node's agent."""
        return next((node.pid for node in self.cluster.nodes if node.ready), 0)

    @property
    def turns(self) -> int:
        """How many agents of a fleet share a device, and one more for the time that a turn takes to end."""
        return 1 + max(map(len, turns_of(self.cluster.nodes, self._hellos)), default=0)

    def begin(self, job: Job, wake_fd: int) -> "ClusterPipe | FleetPipe":
        """Sends the job to as many nodes as its ranks need, or a fleet's to its `seats`."""
        if job.seats is not None:
            nodes = [each for each in self.cluster.nodes if not job.seats or each.index in job.seats]
            turns = turns_of(nodes, self._hellos, job.case.device_type)
            self._pipe = FleetPipe(self._hellos, self.telemetry, self._number, job, turns, wake_fd)
            return self._pipe
        usable = self.cluster.nodes_of(job.case, self.ranks_per_node)
        self._pipe = ClusterPipe(self, self._number, job, usable, wake_fd)
        return self._pipe

    def stop_child(self, pid: int) -> None:  # noqa: ARG002 - a job has one child on every node
        if self._pipe is not None:
            self._pipe.stop(now=False)

    def kill_child(self, pid: int) -> None:  # noqa: ARG002
        if self._pipe is not None:
            self._pipe.stop(now=True)

    def end(self) -> None:
        self._end(now=False)

    def kill(self) -> None:
        self._end(now=True)

    def _end(self, *, now: bool) -> None:
        for node in self.cluster.nodes:
            if node.ready:
                node.send(EndHost(number=self._number, now=now))

    def _gather(self, deadline_s: float) -> tuple[dict[int, Hello], dict[int, str]]:
        """What each node's host reported, and why others did not start, by node."""
        hellos: dict[int, Hello] = {}
        problems: dict[int, str] = {}
        waited = {node.index: node for node in self.cluster.nodes if node.ready}
        with selectors.DefaultSelector() as selector:
            for node in waited.values():
                assert node.connection is not None, "a node that is ready has one"
                selector.register(node.connection, selectors.EVENT_READ, node)
            while waited and time.monotonic() < deadline_s:
                for key, _ in selector.select(max(0.0, deadline_s - time.monotonic())):
                    node = key.data
                    connection = node.connection
                    message = node.read()
                    if isinstance(message, HostReady) and message.number == self._number:
                        hellos[node.index] = message.hello
                    elif isinstance(message, HostFailed) and message.number == self._number:
                        problems[node.index] = f"{message.reason} {message.hint}".strip()
                    elif message is not None:
                        continue  # the late end of an earlier job
                    selector.unregister(connection)
                    waited.pop(node.index, None)
        for node in waited.values():
            problems[node.index] = f"its worker host said nothing for {START_TIMEOUT_S:.0f} s"
        return dict(sorted(hellos.items())), problems

    def _refuse_others(self, problems: dict[int, str]) -> None:
        """All nodes must run the first node's version of torch."""
        if not self._hellos:
            return
        index, first = next(iter(self._hellos.items()))
        number = self.cluster.nodes[index].number
        for other, hello in list(self._hellos.items()):
            differs = [name for name in _SAME if hello.versions.get(name) != first.versions.get(name)]
            if differs:
                name = differs[0]
                theirs = f"{name} {hello.versions.get(name)}"
                problems[other] = f"it has {theirs}, node {number} has {first.versions.get(name)}"
                del self._hellos[other]
                self.cluster.nodes[other].problem = problems[other]
        for other, why in problems.items():
            self.cluster.nodes[other].problem = self.cluster.nodes[other].problem or why


class ClusterPipe:
    """A job on several nodes, presented as one child. A context manager.

    The first node reports the endpoint at which it waits; then the others get the job. The first failure is the
    launch's: ranks that wait for the failed one fail a little later, or are ended.
    """

    def __init__(
        self, host: ClusterHost, number: int, job: Job, nodes: "list[ClusterNode] | str", wake_fd: int
    ) -> None:
        self._host, self._number, self._job = host, number, job
        self._problem = nodes if isinstance(nodes, str) else None
        self._nodes: list[ClusterNode] = [] if isinstance(nodes, str) else nodes
        self._asked: set[int] = set()
        self._done: dict[int, NodeDone | None] = {}
        self._results: dict[int, Result] = {}
        self._failed: list[tuple[int, Failed]] = []
        self._garbage: str | None = None
        self._host_lost: str | None = None
        self._windows: dict[int, NodeWindow] = {}
        self._kill_at_s: float | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake_fd, selectors.EVENT_READ, None)
        for node in self._nodes:
            assert node.connection is not None, "a job goes to nodes that are ready"
            self._selector.register(node.connection, selectors.EVENT_READ, node)
        host.telemetry.forget()
        if self._nodes:
            self._ask(0, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    def stop(self, *, now: bool) -> None:
        for rank, node in enumerate(self._nodes):
            if rank in self._asked and rank not in self._done:
                node.send(StopJob(job=self._job.job, now=now))

    def rest(self) -> tuple[list[Heard], bool]:
        """Nothing: a job on nodes ends with their last message."""
        return [], False

    def wait(self, timeout_s: float) -> list[Heard] | None:
        if self._problem is not None:
            why, self._problem = self._problem, None
            return [self._lost(why), Exited(job=self._job.job, pid=0, exit_code=1)]
        if self._kill_at_s is not None:
            timeout_s = max(0.0, min(timeout_s, self._kill_at_s - time.monotonic()))
        ready = self._selector.select(timeout_s)
        heard: list[Heard] = []
        for key, _ in ready:
            if key.data is not None:
                self._read(key.data, heard)
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

    def _read(self, node: ClusterNode, heard: list[Heard]) -> None:
        rank, connection = self._nodes.index(node), node.connection
        message = node.read()
        if message is None:
            assert connection is not None, "it was selected"
            self._selector.unregister(connection)
            if rank not in self._done:
                self._lose(rank)
        elif isinstance(message, FromChild) and message.job == self._job.job:
            self._take(rank, message.message, heard)
        elif isinstance(message, NodeDone) and message.job == self._job.job:
            self._finish(rank, message)

    def _take(self, rank: int, message: Any, heard: list[Heard]) -> None:
        if isinstance(message, Meeting):
            if rank == 0:
                for other in range(1, len(self._nodes)):
                    self._ask(other, message.endpoint)
        elif isinstance(message, Result):
            node = self._nodes[rank]
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

    def _finish(self, rank: int, done: NodeDone) -> None:
        node = self._nodes[rank]
        self._done[rank] = done
        self._windows |= done.windows
        if done.log:
            self._keep_log(node, done.log)
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

    def _keep_log(self, node: ClusterNode, text: str) -> None:
        head = f"--- {node.name}\n" if len(self._nodes) > 1 else ""
        descriptor = open_own(Path(self._job.log), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(descriptor, "ab") as file:
            file.write(f"{head}{text}".encode())

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
            self._host.telemetry.keep(self._windows)
        codes = [done.exit_code or 0 if done is not None else 1 for done in self._done.values()]
        heard.append(Exited(job=self._job.job, pid=self._host.pid, exit_code=next((c for c in codes if c), 0)))
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
