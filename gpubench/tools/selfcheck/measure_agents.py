"""What a fleet costs the run that measures it: agents that answer at once, and what each sends, opens and stores.

The agents are threads of another process on this machine and measure nothing. Their messages are as long as real ones:
a launch of 500 steps with telemetry at 20 readings a second.
"""

import multiprocessing
import os
import resource
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gpubench.core.records import RankRecord, Record, Series, Status, Window
from gpubench.protocol.messages import Exited, Hello, Job, Phase, Progress, Result, Started
from gpubench.protocol.node_messages import (
    FromChild,
    Goodbye,
    HostReady,
    NodeDone,
    NodeHello,
    NodeJob,
    NodeMessage,
    NodeWindow,
    StartHost,
    encode_node,
)
from gpubench.runner.launch.worker_hosts import HostKey
from gpubench.runner.nodes.addresses import split_address
from gpubench.runner.nodes.cluster import Cluster
from gpubench.runner.nodes.cluster_host import ClusterHost
from gpubench.runner.nodes.connection import NodeConnection, NodeListener, connect, new_key
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.suite.model.case import Case

LAUNCHES = 8
_STEPS, _READINGS, _PROGRESS = 500, 40, 8
_VERSIONS: dict[str, str | None] = {"torch": "2.14.1", "gpubench": "1", "cuda": None}


class AgentCost(NamedTuple):
    """Of a run with `num_agents`. Per card and launch: messages and bytes received, bytes of the record, wall and CPU
    seconds of the run. `connect_s` for all; `files` open in the run beyond those without agents; `judge_s` for the
    cards of `LAUNCHES` launches.
    """

    num_agents: int
    connect_s: float
    messages: float
    received_bytes: float
    record_bytes: float
    launch_s: float
    cpu_s: float
    files: float
    peak_rss_bytes: int
    judge_s: float


class _Engine:
    """Starts the agents in a forked process, which also counts what they send."""

    def __init__(self, num_agents: int, key: str) -> None:
        self._num_agents, self._key = num_agents, key
        self.counts = multiprocessing.get_context("fork").Array("q", 2)
        self._process: multiprocessing.process.BaseProcess | None = None

    def __call__(self, address: str) -> "_Engine":
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=self._serve_all, args=(address,))
        self._process.start()
        return self

    def problem(self, node: int) -> str | None:  # noqa: ARG002 - all of them come
        return None

    def close(self) -> None:
        assert self._process is not None, "it was started"
        self._process.join(30)
        if self._process.is_alive():
            self._process.kill()

    def _serve_all(self, address: str) -> None:
        threads = [
            threading.Thread(target=self._serve, args=(number, *split_address(address)))
            for number in range(self._num_agents)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def _serve(self, number: int, host: str, port: int) -> None:
        connection = connect(host, port, self._key, patience_s=60.0)
        connection.send(NodeHello(host=f"host{number}", pid=os.getpid(), node=number))
        with suppress(OSError):
            while (message := connection.read()) is not None and not isinstance(message, Goodbye):
                if isinstance(message, StartHost):
                    hello = Hello(pid=1, role="host", versions=_VERSIONS)
                    connection.send(HostReady(number=message.number, hello=hello, seconds=0))
                elif isinstance(message, NodeJob):
                    self._launch(connection, number, message.job.job)
        connection.close()

    def _launch(self, connection: NodeConnection, number: int, job: int) -> None:
        said = [Started(job=job, pid=9, isolation="fork"), Hello(pid=9, role="child", versions=_VERSIONS)]
        phases = [Phase(name=name, at_s=0.0) for name in ("build", "warmup", "measuring", "closing")]
        progress = [Progress(num_steps=60 * each, step_time_s=0.004, fraction=0.5) for each in range(_PROGRESS)]
        step_s = 0.004 * (1 + (number * 7919 + job * 104729) % 1000 * 1e-6)
        for each in (*said, *phases[:3], *progress, phases[3], _result(step_s)):
            self._send(connection, FromChild(job=job, message=each))
        self._send(connection, NodeDone(job=job, exit_code=0, windows={0: _window()}))

    def _send(self, connection: NodeConnection, message: NodeMessage) -> None:
        connection.send(message)
        with self.counts.get_lock():
            self.counts[0] += 1
            self.counts[1] += len(encode_node(message))


def _result(step_s: float) -> Result:
    times_s = tuple(step_s * (1 + 1e-3 * (each % 7)) for each in range(_STEPS))
    series = Series(
        clock="perf_counter",
        timing="throughput",
        num_total=_STEPS,
        num_warmup=10,
        num_steady=_STEPS - 10,
        tau=1,
        n_effective=_STEPS - 10,
        median_s=step_s,
    )
    figures = {f"figure_{number}": 1.2345678901 * number for number in range(40)}
    return Result(
        series=series,
        metrics={"step_time_s": step_s, "throughput": 64 / step_s, **figures},
        window=Window(start_s=0, end_s=2, num_steps=_STEPS, num_samples=64 * _STEPS),
        step_times_s=times_s,
    )


def _window() -> NodeWindow:
    metrics = {"sm_clock_mhz": 1980.0, "memory_clock_mhz": 2619.0, "temperature_c": 55.0, "mean_power_w": 612.3}
    series = {f"column_{number}": tuple(0.05 * each + 1e-3 for each in range(_READINGS)) for number in range(10)}
    detail = {"power_limit_w": 700.0, "throttle_share_by_reason": {"power_cap": 0.1}}
    return NodeWindow(metrics=metrics, detail=detail, series=series)


def measure_agents(num_agents: int) -> AgentCost:
    """`LAUNCHES` launches on so many agents. UsageError where this machine has too few file descriptors."""
    files, key = len(os.listdir("/proc/self/fd")), new_key()  # noqa: PTH208 - names are all that is needed
    engine = _Engine(num_agents, key)
    case = Case(workload="cnn", device="cpu")
    began_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(engine, NodeListener("127.0.0.1", 0, key), num_agents, 600.0, lambda *_: None) as cluster,
    ):
        connect_s = time.monotonic() - began_s
        opened = len(os.listdir("/proc/self/fd")) - files  # noqa: PTH208
        host = ClusterHost(cluster, HostKey(None, ()), Path(folder) / "host.log", 1, (), 1)
        began_s, cpu_s = time.monotonic(), time.process_time()
        results = [_one(host, case, number, Path(folder)) for number in range(1, LAUNCHES + 1)]
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    records = [_record(case, number, result.ranks) for number, result in enumerate(results, 1)]
    stored = sum(len(each.model_dump_json(by_alias=True)) for each in records)
    total = num_agents * LAUNCHES
    return AgentCost(
        num_agents=num_agents,
        connect_s=connect_s,
        messages=engine.counts[0] / total,
        received_bytes=engine.counts[1] / total,
        record_bytes=stored / total,
        launch_s=took_s / total,
        cpu_s=cpu_s / total,
        files=opened / num_agents,
        peak_rss_bytes=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        judge_s=_judged_s(case, records),
    )


def _one(host: ClusterHost, case: Case, number: int, folder: Path) -> Result:
    reader, writer = os.pipe()
    heard: list[object] = []
    job = Job(job=number, case=case, repeat=number, log=str(folder / "log"), seats=())
    with host.begin(job, reader) as pipe:
        while not any(isinstance(each, Exited) for each in heard):
            heard += pipe.wait(1.0) or []
    os.close(reader)
    os.close(writer)
    return next(each for each in heard if isinstance(each, Result))


def _record(case: Case, repeat: int, ranks: tuple[RankRecord, ...]) -> Record:
    return Record(
        case_index=1, case_id=case.case_id, label="cnn", repeat=repeat, status=Status.OK, ranks=ranks, metrics={}
    )


def _judged_s(case: Case, records: list[Record]) -> float:
    from gpubench.analysis.fleet.judge_run import judge_fleet

    planned = PlannedCase(index=1, case_id=case.case_id, label="cnn", settings=case.settings)
    suite = {"name": "fleet", "fleet": {}}
    info = RunInfo(run="r", suite_name="fleet", suite=suite, suite_digest="", created="", cases=(planned,))
    judge_fleet(info, records[:2])  # imports what it needs
    began_s = time.monotonic()
    judge_fleet(info, records)
    return time.monotonic() - began_s


COST_HEADER = (
    "| agents | connect, s | per card and launch: messages | sent, KB | stored, KB | ms | CPU ms | files per card | "
    "peak memory, MB | judge, s |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def cost_row(cost: AgentCost) -> str:
    cells = (
        f"{cost.num_agents:,}",
        f"{cost.connect_s:.2f}",
        f"{cost.messages:.0f}",
        f"{cost.received_bytes / 1e3:.1f}",
        f"{cost.record_bytes / 1e3:.2f}",
        f"{1e3 * cost.launch_s:.2f}",
        f"{1e3 * cost.cpu_s:.2f}",
        f"{cost.files:.2f}",
        f"{cost.peak_rss_bytes / 1e6:.0f}",
        f"{cost.judge_s:.2f}",
    )
    return f"| {' | '.join(cells)} |"
