"""The nodes of a run: an engine starts their agents, which connect and serve the run until it ends."""

import resource
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from gpubench.core.errors import UsageError, WorkerError
from gpubench.core.version import __version__
from gpubench.protocol.messages import PROTOCOL_VERSION
from gpubench.protocol.node_messages import Goodbye, NodeHello, NodeMessage
from gpubench.runner.engines.engine import Engine
from gpubench.runner.launch.worker_hosts import nodes_wanted
from gpubench.runner.nodes.connection import NodeConnection, NodeListener
from gpubench.suite.model.case import Case

_TICK_S = 0.2

Say = Callable[[str, str], None]
"""Called with a message about a node and a hint."""


_OTHERS = 100
"""Descriptors for all else that a run has open."""


@dataclass
class ClusterNode:
    """A machine of the run, or a `card` of one. `index` among all of them; `problem`: why it cannot measure, if so."""

    number: int
    card: int | None = None
    index: int = 0
    connection: NodeConnection | None = None
    host: str = ""
    pid: int = 0
    problem: str | None = None

    @property
    def name(self) -> str:
        card = "" if self.card is None else f", card {self.card}"
        return f"node {self.number}" + (f" ({self.host}{card})" if self.host else card)

    @property
    def ready(self) -> bool:
        return self.connection is not None and self.problem is None

    def send(self, message: NodeMessage) -> None:
        """Marks the node as lost if its agent has ended."""
        if self.connection is None:
            return
        try:
            self.connection.send(message)
        except OSError:
            self.lose("its agent ended")

    def read(self) -> NodeMessage | None:
        """The next message; None if the agent has ended, or sent something invalid."""
        if self.connection is None:
            return None
        try:
            message = self.connection.read()
        except ValueError:
            self.lose("its agent sent something that is not a message")
            return None
        if message is None:
            self.lose("its agent ended")
        return message

    def lose(self, why: str) -> None:
        self.problem = self.problem or why
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Cluster:
    """A context manager in which the agents serve this run. Once all are connected, nothing listens any more.

    Entering raises UsageError if this process may not open a file for each of them.
    """

    def __init__(
        self, engine: Callable[[str], Engine], listener: NodeListener, num_nodes: int, wait_s: float, say: Say
    ) -> None:
        """`engine` starts the agents, given the address to connect to. `wait_s`: how long to wait for them."""
        self.nodes = [ClusterNode(number) for number in range(num_nodes)]
        self._start, self._listener, self._wait_s, self._say = engine, listener, wait_s, say
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        try:
            with self._listener:
                make_room(len(self.nodes))
                self._engine = self._start(self._listener.address)
                self._gather(self._engine)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets every agent go, and ends what is left of the engine."""
        for node in self.nodes:
            node.send(Goodbye())
            if node.connection is not None:
                node.connection.close()
                node.connection = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def nodes_of(self, case: Case, ranks_per_node: int) -> "list[ClusterNode] | str":
        """The nodes that measure a case: the fewest ready ones over which its ranks divide evenly. Or why there are too
        few.
        """
        ready = [node for node in self.nodes if node.ready]
        wanted = nodes_wanted(case.world_size, ranks_per_node)
        if wanted <= len(ready):
            return ready[:wanted]
        lost = [f"{node.name}: {node.problem}" for node in self.nodes if node.problem is not None]
        if wanted > len(self.nodes) or not lost:
            return f"{case.world_size} ranks need {wanted} nodes of {ranks_per_node}; there are {len(self.nodes)}"
        return "; ".join(lost)

    def _gather(self, engine: Engine) -> None:
        """Waits for the agents. A node whose agent does not connect, or has another version, gets a `problem`."""
        deadline_s = time.monotonic() + self._wait_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while (missing := self._missing()) and time.monotonic() < deadline_s:
                if selector.select(_TICK_S):
                    self._take_in()
                    continue
                for node in missing:
                    node.problem = engine.problem(node.number)
        self.nodes.sort(key=lambda node: (node.number, node.card or 0))
        for index, node in enumerate(self.nodes):
            node.index = index
        for node in self._missing():
            node.problem = f"it did not connect within {self._wait_s:.0f} s"
        for node in self.nodes:
            if node.problem is not None:
                self._say(f"{node.name}: {node.problem}", "Cases that need it are failed; the others go on.")
        if not any(node.ready for node in self.nodes):
            reasons = "; ".join(f"{node.name}: {node.problem}" for node in self.nodes)
            raise WorkerError(f"no node can measure: {reasons}")

    def _missing(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.connection is None and node.problem is None]

    def _take_in(self) -> None:
        try:
            connection = self._listener.accept()
        except WorkerError as error:
            self._say(str(error), "An agent of another run, or a program that is none.")
            return
        try:
            hello = connection.read()
        except ValueError:
            hello = None
        connection.trust()
        if not isinstance(hello, NodeHello):
            connection.close()
            self._say(f"{connection.peer} connected with the key and said nothing of use", "")
            return
        try:
            node = self._place(hello)
        except UsageError as error:
            _refuse(connection, str(error))
            raise
        if node is None:
            _refuse(connection, "every node of the run has its agent already")
            self._say(f"an agent on {hello.host} was not needed", "")
            return
        node.host, node.pid = hello.host, hello.pid
        if (hello.version, hello.gpubench) != (PROTOCOL_VERSION, __version__):
            node.problem = f"it has gpubench {hello.gpubench}, this run {__version__}"
            _refuse(connection, f"this machine has gpubench {hello.gpubench}, the run {__version__}")
            return
        node.connection = connection

    def _place(self, hello: NodeHello) -> ClusterNode | None:
        """The node with the agent's number or, if the engine gave none, the first node without an agent. The first
        card of a machine to come makes room for the others.
        """
        free, number = self._missing(), hello.node
        if number is None and hello.num_cards > 1:
            number = next((node.number for node in self.nodes if node.host == hello.host), None)
        if number is not None:
            free = [node for node in free if node.number == number]
        if hello.num_cards == 1:
            return free[0] if free else None
        whole = next((node for node in free if node.card is None), None)
        if whole is not None:
            whole.card, whole.host = 0, hello.host
            others = range(1, hello.num_cards)
            self.nodes += [ClusterNode(whole.number, card, host=hello.host) for card in others]
            make_room(len(self.nodes))
            number = whole.number
        return next((node for node in self._missing() if (node.number, node.card) == (number, hello.card)), None)


def _refuse(connection: NodeConnection, reason: str) -> None:
    with suppress(OSError):
        connection.send(Goodbye(reason=reason))
    connection.close()


def make_room(num_agents: int) -> None:
    """Raises this process's soft limit on open files if so many connections need it. UsageError if the hard limit,
    which only the system's administrator raises, is too low.
    """
    needed = num_agents + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise UsageError(
            f"{num_agents} agents need {needed} open files, of which this process may have {hard}",
            hint="Raise the hard limit (`ulimit -Hn` shows it): `nofile` in /etc/security/limits.conf, LimitNOFILE= of "
            "a systemd unit, or --ulimit nofile= of a container.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
