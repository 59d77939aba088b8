"""`gpubench node`: the agent that serves a run on this machine. It measures nothing and does not import torch."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from gpubench.core.errors import StoreError, UsageError, WorkerError
from gpubench.protocol import start_module
from gpubench.protocol.messages import Exited, Hello, Meeting, Phase, Progress, Result, Started
from gpubench.protocol.node_messages import (
    EndHost,
    FromChild,
    Goodbye,
    HostFailed,
    HostReady,
    NodeDone,
    NodeHello,
    NodeJob,
    NodeWindow,
    StartHost,
    StopJob,
)
from gpubench.runner.engines.engine import agent_command
from gpubench.runner.engines.env import node_number, undo_thread_limits
from gpubench.runner.launch.job_pipe import Garbage, HostLost
from gpubench.runner.launch.worker_hosts import Host, HostKey, device_index
from gpubench.runner.nodes.addresses import interface_of
from gpubench.runner.nodes.connection import KEY_VARIABLE, NodeConnection, connect
from gpubench.store.atomic_files import read_end
from gpubench.telemetry.devices.base import TelemetryError
from gpubench.telemetry.devices.open_backend import one_card_each
from gpubench.telemetry.run_telemetry import TelemetrySession, open_session

_TICK_S = 1.0
_LOG_BYTES = 2**16
_CARD = "GPUBENCH_CARD"
"""Of an agent that has one device: `3/8`."""


class RunGone(Exception):  # noqa: N818 - the usual end of an agent
    """The run closed the connection."""


def serve_run(host: str, port: int, node: int | None = None, *, patience_s: float = 0.0) -> None:
    """Connects to the run at `host`:`port` and serves it until it ends. Waits up to `patience_s` for the run to listen.
    The key is read from GPUBENCH_NODE_KEY and removed from the environment, so that workers do not get it.

    UsageError without a key, if nothing listens, or if the run refuses this machine.
    """
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        raise UsageError(f"{KEY_VARIABLE} is not set", hint="It must hold the key that the run was started with.")
    place, of, number_of = os.environ.pop(_CARD, "").partition("/")
    card = (int(place), int(number_of)) if of else None
    undo_thread_limits(os.environ)
    connection = connect(host, port, key, patience_s)
    number = node_number(os.environ) if node is None else node
    with NodeAgent(connection) as agent:
        hello = NodeHello(host=socket.gethostname(), pid=os.getpid(), node=number)
        connection.send(hello if card is None else hello.model_copy(update={"card": card[0], "num_cards": card[1]}))
        agent.serve()


def serve_cards(host: str, port: int, node: int | None = None, *, patience_s: float = 0.0) -> None:
    """The same with one agent for each GPU or MIG slice of this machine, which is all that the agent and its workers
    see. Without any, with one agent. Returns when all have ended. UsageError if the devices cannot be told apart.
    """
    try:
        cards = one_card_each(os.environ)
    except TelemetryError as error:
        raise UsageError(str(error), hint=error.remedy) from error
    if not cards:
        serve_run(host, port, node, patience_s=patience_s)
        return
    number = node_number(os.environ) if node is None else node
    more = ["--node", str(number)] if number is not None else []
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    started = [
        subprocess.Popen(
            agent_command(address, *more),
            env={**card, **start_module.environment(), _CARD: f"{place}/{len(cards)}"},
            stdin=subprocess.DEVNULL,
        )
        for place, card in enumerate(cards)
    ]
    for each in started:
        each.wait()


class NodeAgent:
    """A context manager that kills its hosts, and what they started, on exit."""

    def __init__(self, connection: NodeConnection) -> None:
        self._connection = connection
        self._hosts: dict[int, Host] = {}
        self._folder = Path(tempfile.mkdtemp(dir=start_module.scratch_folder()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts.values():
            host.kill()
        self._connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def serve(self) -> None:
        """Returns when the run ends. UsageError with the run's reason if it refuses this agent."""
        while True:
            message = self._connection.read()
            if message is None:
                return
            if isinstance(message, Goodbye):
                if message.reason:
                    raise UsageError(message.reason)
                return
            try:
                if isinstance(message, StartHost):
                    self._start(message)
                elif isinstance(message, EndHost):
                    self._end(message)
                elif isinstance(message, NodeJob):
                    self._connection.send(self._run(message))
            except (RunGone, BrokenPipeError, ConnectionResetError):
                return

    def _start(self, asked: StartHost) -> None:
        log = self._folder / f"host-{asked.number}.log"
        key = HostKey(asked.python, tuple(sorted(asked.env.items())))
        try:
            host = Host(key, log, modules=asked.modules)
        except (WorkerError, StoreError) as error:
            self._connection.send(HostFailed(number=asked.number, reason=str(error), hint=error.hint))
            return
        self._hosts[asked.number] = host
        self._connection.send(HostReady(number=asked.number, hello=host.hello, seconds=host.seconds))

    def _end(self, asked: EndHost) -> None:
        host = self._hosts.pop(asked.number, None)
        if host is not None:
            if asked.now:
                host.kill()
            else:
                host.end()

    def _run(self, asked: NodeJob) -> NodeDone:
        host = self._hosts.get(asked.number)
        if host is None:
            return NodeDone(job=asked.job.job, host_lost="the worker host has ended")
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        log = scratch / "log"
        log.touch()
        place = asked.job.place
        if place is not None:
            own = self._connection.own
            place = place.model_copy(update={"address": own, "interface": interface_of(own)})
        job = asked.job.model_copy(update={"log": str(log), "scratch": str(scratch), "place": place})
        try:
            with ExitStack() as stack:
                watch = RankTelemetry(asked, host.hello, stack)
                done = _Running(self._connection, host, asked.model_copy(update={"job": job})).run()
                windows = watch.windows(done.answer)
            return NodeDone(
                job=job.job,
                exit_code=done.exit_code,
                garbage=done.garbage,
                host_lost=done.host_lost,
                log=read_end(log, _LOG_BYTES)[0],
                windows=windows,
            )
        finally:
            if done_host_lost(host):
                self._hosts.pop(asked.number, None)
            shutil.rmtree(scratch, ignore_errors=True)


def done_host_lost(host: Host) -> bool:
    """Whether the host's connection is closed, because it was killed or ended by itself."""
    return host.socket.fileno() < 0


class _Running:
    """A job on this node's host: forwards the child's messages to the run, and the run's requests to the child."""

    def __init__(self, connection: NodeConnection, host: Host, asked: NodeJob) -> None:
        self._connection, self._host, self._job = connection, host, asked.job
        self._pid: int | None = None
        self._asked: StopJob | None = None
        self.exit_code: int | None = None
        self.garbage: str | None = None
        self.host_lost: str | None = None
        self.answer: Result | None = None

    def run(self) -> "_Running":
        """Returns when the child has ended. RunGone if the run closes the connection."""
        try:
            pipe = self._host.begin(self._job, self._connection.fileno())
        except WorkerError as error:
            self.host_lost = str(error)
            return self
        with pipe:
            while self.exit_code is None and self.host_lost is None:
                for each in pipe.wait(_TICK_S) or ():
                    self._take(each)
                while self._connection.has_more():
                    self._obey()
            for each in pipe.rest()[0]:
                self._take(each)
        if self.host_lost is not None:
            if self._pid is not None:
                self._host.kill_child(self._pid)
            self._host.kill()
        return self

    def _take(self, heard: object) -> None:
        if isinstance(heard, HostLost):
            self.host_lost = heard.why
        elif isinstance(heard, Exited):
            self.exit_code = heard.exit_code
        elif isinstance(heard, Garbage):
            self.garbage = self.garbage or heard.why
            self._stop(StopJob(job=self._job.job, now=True))
        elif self.garbage is None:
            assert isinstance(heard, Hello | Meeting | Started | Phase | Progress) or hasattr(heard, "type")
            if isinstance(heard, Started):
                self._pid = heard.pid
                if self._asked is not None:
                    self._stop(self._asked)
            if isinstance(heard, Result):
                self.answer = heard
            self._connection.send(FromChild(job=self._job.job, message=heard))

    def _obey(self) -> None:
        message = self._connection.read()
        if message is None or isinstance(message, Goodbye):
            raise RunGone
        if isinstance(message, StopJob) and message.job == self._job.job:
            self._stop(message)
        elif isinstance(message, EndHost):
            self._host.kill()
            self.host_lost = self.host_lost or "the run ended the worker host"

    def _stop(self, asked: StopJob) -> None:
        self._asked = asked
        if self._pid is not None:
            (self._host.kill_child if asked.now else self._host.stop_child)(self._pid)


class RankTelemetry:
    """Samples the device of every rank on this node."""

    def __init__(self, asked: NodeJob, hello: Hello, stack: ExitStack) -> None:
        job = asked.job
        self._first = job.first_rank
        self._sessions: list[TelemetrySession] = []
        index = device_index(job.case)
        for local in range(job.num_local_ranks):
            on_cpu = job.case.device_type != "cuda"
            if on_cpu and local:
                break  # all ranks share the CPU's counters
            devices: list[Mapping[str, object]] = [each for each in hello.devices if each.get("index") == index + local]
            session = stack.enter_context(open_session(asked.telemetry))
            session.track(devices[0] if devices and not on_cpu else None)
            session.before_launch()
            self._sessions.append(session)

    def windows(self, answer: Result | None) -> dict[int, NodeWindow]:
        """The measured window by rank. Empty if nothing was measured."""
        window = None if answer is None else answer.window
        if answer is None or window is None or window.duration_s <= 0:
            return {}
        idle = answer.marks.get("idle_s")
        windows = {}
        for local, session in enumerate(self._sessions):
            cut = session.window(
                window.start_s, window.end_s, window.num_samples, idle=(idle[0], idle[1]) if idle else None
            )
            windows[self._first + local] = NodeWindow(
                metrics=cut.metrics,
                absent=cut.absent,
                findings=(*cut.findings, *session.after_launch()),
                detail=cut.detail,
                series={name: tuple(values) for name, values in cut.series.items()} if local == 0 else {},
            )
        return windows
