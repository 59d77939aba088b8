"""Agents that are threads of the test: what they say is known, and they measure nothing."""

import os
import threading
import time
from contextlib import contextmanager

from gpubench.core.errors import UsageError
from gpubench.core.records import RankRecord, Series, Window
from gpubench.protocol.messages import Hello, Job, Result
from gpubench.protocol.node_messages import Goodbye, HostFailed, HostReady, NodeHello, NodeJob, StartHost
from gpubench.runner.launch.job_pipe import HostLost
from gpubench.runner.launch.worker_hosts import HostKey
from gpubench.runner.nodes.addresses import split_address
from gpubench.runner.nodes.cluster import Cluster
from gpubench.runner.nodes.cluster_host import ClusterHost
from gpubench.runner.nodes.connection import NodeListener, connect
from gpubench.suite.model.case import Case

KEY = "a key of this test"
VERSIONS = {"torch": "2.14.1", "gpubench": "1", "cuda": None}


class Agents:
    """An engine that starts threads, each an agent that does what `parts` says, and remembers what it was asked."""

    def __init__(self, *parts, problems=()):
        self._parts, self._problems = parts, dict(problems)
        self.threads, self.closed, self.asked = [], False, []

    def __call__(self, address):
        for number, part in enumerate(self._parts):
            thread = threading.Thread(target=part, args=(self, number, *split_address(address)), daemon=True)
            thread.start()
            self.threads.append(thread)
        return self

    def problem(self, node):
        return self._problems.get(node)

    def close(self):
        self.closed = True
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive(), "an agent stayed behind"


def agent(job=lambda connection, message: None, *, torch="2.14.1", key=KEY, starts=True, devices=(), **hello):
    """An agent whose host says hello, and that answers a job with `job`."""

    def serve(agents, number, host, port):
        try:
            connection = connect(host, port, key)
        except UsageError:
            return
        connection.send(NodeHello(**{"host": f"host{number}", "pid": 100 + number, "node": number, **hello}))
        while (message := connection.read()) is not None and not isinstance(message, Goodbye):
            agents.asked.append((number, message))
            if isinstance(message, StartHost):
                said = Hello(pid=1, role="host", versions={**VERSIONS, "torch": torch}, devices=devices)
                ready = HostReady(number=message.number, hello=said, seconds=1)
                connection.send(ready if starts else HostFailed(number=message.number, reason="no torch here"))
            elif isinstance(message, NodeJob) and job(connection, message) == "end":
                break
        connection.close()

    return serve


def absent(agents, number, host, port):
    """One that never comes."""


@contextmanager
def cluster(*parts, problems=(), wait_s=5.0, num_nodes=None):
    said, agents = [], Agents(*parts, problems=problems)
    listener = NodeListener("127.0.0.1", 0, KEY)
    with Cluster(
        agents, listener, num_nodes or len(parts), wait_s, lambda message, hint: said.append(message)
    ) as opened:
        opened.said, opened.agents = said, agents
        yield opened
    assert agents.closed


def host_of(opened, tmp_path):
    return ClusterHost(opened, HostKey(None, ()), tmp_path / "host.log", 1, (), 1)


def hear(host, tmp_path, world_size=2, **job):
    """All that a job says to the run."""
    case = job.pop("case", None) or Case(world_size=world_size, workload="cnn", device="cpu")
    reader, writer = os.pipe()
    heard, deadline_s = [], time.monotonic() + 20
    with host.begin(Job(job=7, case=case, log=str(tmp_path / "job.log"), **job), reader) as pipe:
        while not any(getattr(each, "type", "") == "exited" or isinstance(each, HostLost) for each in heard):
            assert time.monotonic() < deadline_s, heard
            heard += pipe.wait(0.5) or []
    os.close(reader)
    os.close(writer)
    return heard


def told(heard, kind):
    return next((each for each in heard if isinstance(each, kind)), None)


def result(rank, step_s=0.01):
    series = Series(
        clock="perf_counter",
        timing="throughput",
        num_total=10,
        num_warmup=0,
        num_steady=10,
        tau=1,
        n_effective=10,
        median_s=step_s,
    )
    record = RankRecord(rank=rank, device="cpu", step_time_s=step_s)
    return Result(
        series=series,
        metrics={"step_time_s": step_s, "throughput": 8 / step_s},
        window=Window(start_s=0, end_s=1, num_steps=10, num_samples=80),
        ranks=(record,),
    )
