"""Worker hosts on all nodes of a run, with the interface of a single `Host`."""

import selectors
import time
from collections.abc import Sequence
from pathlib import Path

from gpubench.core.errors import WorkerError
from gpubench.protocol.messages import Hello, Job, NodeFacts
from gpubench.protocol.node_messages import EndHost, HostFailed, HostReady, StartHost
from gpubench.runner.launch.worker_hosts import START_TIMEOUT_S, HostKey
from gpubench.runner.nodes.cluster import Cluster
from gpubench.runner.nodes.cluster_pipe import ClusterPipe
from gpubench.runner.nodes.cluster_telemetry import ClusterTelemetry
from gpubench.runner.nodes.fleet_pipe import FleetPipe, turns_of
from gpubench.runner.nodes.nodes_pipe import NodesPipe

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
        self._pipe: NodesPipe | None = None

    @property
    def pid(self) -> int:
        """Process id of the first node's agent."""
        return next((node.pid for node in self.cluster.nodes if node.ready), 0)

    @property
    def turns(self) -> int:
        """How many agents of a fleet share a device, and one more for the time that a turn takes to end."""
        return 1 + max(map(len, turns_of(self.cluster.nodes, self._hellos)), default=0)

    def begin(self, job: Job, wake_fd: int) -> NodesPipe:
        """Sends the job to as many nodes as its ranks need, or a fleet's to its `seats`."""
        if job.seats is not None:
            nodes = [each for each in self.cluster.nodes if not job.seats or each.index in job.seats]
            turns = turns_of(nodes, self._hellos, job.case.device_type)
            self._pipe = FleetPipe(self._hellos, self.telemetry, self._number, job, turns, wake_fd)
            return self._pipe
        usable = self.cluster.nodes_of(job.case, self.ranks_per_node)
        self._pipe = ClusterPipe(self.pid, self.telemetry, self._number, job, usable, wake_fd)
        return self._pipe

    def stop_child(self, pid: int) -> None:  # noqa: ARG002 - a job has one child on every node
        if self._pipe is not None:
            self._pipe.stop(now=False)

    def kill_child(self, pid: int) -> None:  # noqa: ARG002
        if self._pipe is not None:
            self._pipe.stop(now=True)

    def delayed_s(self, pid: int) -> float:  # noqa: ARG002
        return 0.0  # nodes do not say

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
