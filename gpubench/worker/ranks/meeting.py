"""How the ranks of a launch, and the agents of its machines, find each other."""

import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from torch.distributed import (  # type: ignore[attr-defined] # public, and not in its `__all__`
    FileStore,
    PrefixStore,
    Store,
    TCPStore,
)
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

from gpubench.protocol.messages import Meeting, NodePlace

if TYPE_CHECKING:
    from gpubench.worker.job import Sender

RENDEZVOUS = "gpubench"

_JOIN_S = 30.0
"""How long a machine waits for the others, which get the job a moment later."""


class Meet(NamedTuple):
    """How this machine's agent finds the others. `endpoint`: a file on a single machine, HOST:PORT on several;
    `server`: the store, on the first of several machines.
    """

    endpoint: str
    num_nodes: int = 1
    node_rank: int = 0
    server: TCPStore | None = None

    @classmethod
    def of(cls, place: NodePlace | None, scratch: Path, sender: "Sender") -> Self:
        """The first machine listens on its `address` alone and sends the endpoint to the parent. OSError on failure."""
        if place is None:
            return cls(str(scratch / "agent-store"))
        if place.meeting is not None:
            return cls(place.meeting, place.num_nodes, place.node_rank)
        family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
        listener = socket.create_server((place.address, 0), family=family, backlog=1024)
        port = int(listener.getsockname()[1])
        server = TCPStore(
            place.address,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=_JOIN_S),
            master_listen_fd=listener.detach(),
        )
        endpoint = f"[{place.address}]:{port}" if family == socket.AF_INET6 else f"{place.address}:{port}"
        sender.send(Meeting(endpoint=endpoint))
        return cls(endpoint, place.num_nodes, place.node_rank, server)


def store_of_ranks(place: NodePlace | None, scratch: Path, meeting: str, world_size: int) -> Store:
    """The store with which the ranks create their process group."""
    if place is None:
        return FileStore(str(scratch / "store"), world_size)
    return PrefixStore("ranks", _client(meeting))


def _client(endpoint: str) -> TCPStore:
    host, _, port = endpoint.rpartition(":")
    return TCPStore(host.strip("[]"), int(port), is_master=False, timeout=timedelta(seconds=_JOIN_S))


class _Rendezvous(RendezvousHandler):
    """Does not negotiate: every machine knows its number beforehand."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._run_id = parameters.run_id
        self._meet: Meet = parameters.config["meet"]

    def get_backend(self) -> str:
        return RENDEZVOUS

    @property
    def use_agent_store(self) -> bool:
        return False

    def next_rendezvous(self) -> RendezvousInfo:
        meet = self._meet
        alone = meet.num_nodes == 1
        store: Store = (
            FileStore(meet.endpoint, 1) if alone else PrefixStore("agents", meet.server or _client(meet.endpoint))
        )
        return RendezvousInfo(store, meet.node_rank, meet.num_nodes, RendezvousStoreInfo("localhost", 0))

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        """Nothing to do: there is no later round to join."""

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return self._run_id

    def shutdown(self) -> bool:
        return True


rendezvous_handler_registry.register(RENDEZVOUS, _Rendezvous)
