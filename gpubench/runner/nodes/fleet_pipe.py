"""A job of a fleet: every agent measures it alone, and all are heard as one child."""

import random
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import median_low
from typing import Any

from gpubench.core.records import Failure, RankRecord
from gpubench.core.units import format_duration
from gpubench.protocol.messages import Exited, Failed, Hello, Job, Phase, Progress, Result, Started
from gpubench.protocol.node_messages import NodeDone, NodeJob, NodeWindow, StopJob
from gpubench.runner.launch.job_pipe import Heard, describe_exit
from gpubench.runner.nodes.cluster import ClusterNode
from gpubench.runner.nodes.cluster_telemetry import ClusterTelemetry, state_of
from gpubench.runner.nodes.nodes_pipe import NodesPipe

_KILLED_S = 15.0
_DONE = "closing"


def turns_of(
    nodes: Iterable[ClusterNode], hellos: Mapping[int, Hello], device_type: str = "cpu"
) -> list[list[ClusterNode]]:
    """Agents that share a device, or on CPUs a machine, measure in turn; others at the same time."""
    found: dict[object, list[ClusterNode]] = {}
    for node in nodes:
        hello = hellos.get(node.index)
        cards = () if hello is None or device_type == "cpu" else hello.devices
        device = cards[0].get("uuid") or (node.host, cards[0].get("index")) if cards else node.host
        found.setdefault(device, []).append(node)
    return list(found.values())


class FleetPipe(NodesPipe):
    """A card that fails or takes too long has a reason instead of a figure; the launch fails only if no card has a
    figure.

    The launch has the figures of its median card; `ranks` has every card.
    """

    def __init__(
        self,
        hellos: Mapping[int, Hello],
        telemetry: ClusterTelemetry,
        number: int,
        job: Job,
        turns: Sequence[Sequence[ClusterNode]],
        wake_fd: int,
    ) -> None:
        """`hellos` are those of the nodes' hosts `number`, by index of the node; `turns` those of `turns_of`."""
        self._hellos, self._telemetry, self._number = hellos, telemetry, number
        order = random.Random(job.repeat)
        self._queues = [deque(order.sample(each, len(each))) for each in turns]
        self._nodes = {node.index: node for each in turns for node in each}
        super().__init__(job, self._nodes.values(), wake_fd)
        self._queue_of = {node.index: queue for queue in self._queues for node in queue}
        self._limits_s: dict[int, float] = {}
        self._results: dict[int, Result] = {}
        self._failed: dict[int, Failed] = {}
        self._windows: dict[int, NodeWindow] = {}
        self._done: set[int] = set()
        self._stopping = False
        self._leader: int | None = None
        telemetry.forget()
        for queue in self._queues:
            self._next(queue)

    def stop(self, *, now: bool) -> None:
        self._stopping = True
        for index in self._limits_s:
            self._nodes[index].send(StopJob(job=self._job.job, now=now))

    def wait(self, timeout_s: float) -> list[Heard] | None:
        now_s = time.monotonic()
        soonest_s = min(self._limits_s.values(), default=now_s)
        ready, heard = self._read(max(0.0, min(timeout_s, soonest_s - now_s)))
        self._end_late()
        if len(self._done) == len(self._nodes):
            heard += self._end()
        return heard if ready or heard else None

    def _next(self, queue: "deque[ClusterNode]") -> None:
        """The next card that shares the device gets the job."""
        while queue:
            node = queue.popleft()
            if self._stopping or not node.ready:
                self._fail(node, "stopped before it was measured" if self._stopping else f"{node.problem}", "NodeLost")
                self._done.add(node.index)
                continue
            self._limits_s[node.index] = time.monotonic() + self._job.measure.timeout
            job = self._job.model_copy(update={"seats": None})
            node.send(NodeJob(number=self._number, job=job, telemetry=job.measure.telemetry))
            if node.problem is None:
                return
            self._lost(node)

    def _gone(self, node: ClusterNode) -> None:
        if node.index in self._limits_s:
            self._lost(node)
            self._next(self._queue_of[node.index])

    def _take(self, node: ClusterNode, message: Any, heard: list[Heard]) -> None:
        if isinstance(message, Result):
            self._results[node.index] = message
        elif isinstance(message, Failed):
            self._failed.setdefault(node.index, message)
        elif isinstance(message, Hello | Started | Phase | Progress):
            self._leader = node.index if self._leader is None else self._leader
            if self._leader == node.index:
                heard.append(message)

    def _finish(self, node: ClusterNode, done: NodeDone) -> None:
        if self._limits_s.pop(node.index, None) is None:
            return
        self._done.add(node.index)
        if 0 in done.windows:
            self._windows[node.index] = done.windows[0]
        if done.log:
            self._keep_log(f"--- {node.name}\n{done.log}")
        if node.index not in self._results:
            why = done.host_lost or done.garbage or describe_exit(done.exit_code or 0)
            self._fail(node, f"its process ended without a result ({why})", "ProcessDied")
        self._next(self._queue_of[node.index])

    def _lost(self, node: ClusterNode) -> None:
        self._limits_s.pop(node.index, None)
        self._done.add(node.index)
        self._fail(node, f"{node.problem}", "NodeLost")

    def _fail(self, node: ClusterNode, reason: str, error: str) -> None:
        failure = Failure(phase="measuring", error=error, message=reason)
        self._failed.setdefault(node.index, Failed(status="failed", reason=reason, failure=failure))

    def _end_late(self) -> None:
        """A card whose time is over is asked to kill its process; an agent that does not answer is let go."""
        now_s, limit_s = time.monotonic(), self._job.measure.timeout
        for index in [index for index, at_s in self._limits_s.items() if now_s >= at_s]:
            node = self._nodes[index]
            if index in self._failed:
                node.lose(f"it did not end its process within {_KILLED_S:.0f} s")
                self._lost(node)
                self._next(self._queue_of[index])
                continue
            self._fail(node, f"no result within {format_duration(limit_s)}", "TimeoutError")
            self._limits_s[index] = now_s + _KILLED_S
            node.send(StopJob(job=self._job.job, now=True))

    def _end(self) -> list[Heard]:
        records = tuple(self._record(node) for node in self._nodes.values())
        timed = [each for each in records if each.step_time_s is not None]
        if not timed:
            failed = [(self._nodes[index], each) for index, each in self._failed.items()]
            node, first = failed[0] if failed else (next(iter(self._nodes.values())), None)
            wrong = next(iter(self._results.values()), None)
            if first is None and wrong is not None:  # all outputs are wrong: the case's own fault, and judged as one
                return self._said(wrong.model_copy(update={"ranks": records}))
            assert first is not None, "a card has a result or a reason"
            return self._said(first.model_copy(update={"reason": f"{node.name}: {first.reason}"}))
        middle = median_low([(each.step_time_s or 0.0, each.rank) for each in timed])[1]
        if middle in self._windows:
            self._telemetry.keep({0: self._windows[middle]})
        return self._said(self._results[middle].model_copy(update={"ranks": records}))

    def _said(self, answer: Result | Failed) -> list[Heard]:
        closing = [Phase(name=_DONE, at_s=time.monotonic())] if isinstance(answer, Result) else []
        return [
            *closing,
            answer,
            Exited(job=self._job.job, pid=next((node.pid for node in self._nodes.values()), 0), exit_code=0),
        ]

    def _record(self, node: ClusterNode) -> RankRecord:
        """One card; its number among the agents is the record's `rank`."""
        result, failed = self._results.get(node.index), self._failed.get(node.index)
        window, hello = self._windows.get(node.index), self._hellos.get(node.index)
        absent, step_s = {}, None if result is None else result.metrics.get("step_time_s")
        if failed is not None or result is None:
            absent["step_time_s"], step_s = failed.reason if failed else "it has no result", None
        elif result.parity is not None and not result.parity.passed:
            absent["step_time_s"], step_s = "its output is not that of fp64", None
        device = hello.devices[0] if hello is not None and hello.devices else {}
        return RankRecord(
            rank=node.index,
            node=node.number,
            host=node.host,
            device=self._job.case.device if node.card is None else f"{self._job.case.device_type}:{node.card}",
            device_name=device.get("name"),
            device_uuid=device.get("uuid"),
            step_time_s=step_s,
            telemetry={} if window is None else state_of(window),
            absent=absent,
        )
