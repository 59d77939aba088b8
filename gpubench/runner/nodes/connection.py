"""Connections between a run and its agents: multiprocessing.connection with one key per run, carrying JSON, never
pickle.
"""

import os
import secrets
import socket
import struct
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Self

from gpubench.core.errors import UsageError, WorkerError
from gpubench.protocol.node_messages import MOST_BYTES, NodeMessage, decode_node, encode_node

KEY_VARIABLE = "GPUBENCH_NODE_KEY"
"""Passes the key to agents: on a command line every user of a node could see it."""

_GREETING_S = 5.0
_TURN_S = 120.0
"""How long an agent waits for its turn: the run greets one connection after the other."""

_CONNECT_S, _AGAIN_S = 30.0, 0.5
_SILENT_S, _PROBE_S, _PROBES = 3, 1, 4


def new_key() -> str:
    return secrets.token_hex(32)


class NodeConnection:
    """One end of a connection. `peer` and `own` are addresses."""

    def __init__(self, wire: socket.socket) -> None:
        self.own, self.peer = str(wire.getsockname()[0]), str(wire.getpeername()[0])
        _notice_a_dead_peer(wire)
        self._connection = Connection(wire.detach())
        self._descriptor = self._connection.fileno()

    def fileno(self) -> int:
        """Stays the same after closing, so that a selector can unregister it."""
        return self._descriptor

    def send(self, message: NodeMessage) -> None:
        """OSError if the other end is gone."""
        self._connection.send_bytes(encode_node(message))

    def read(self) -> NodeMessage | None:
        """Waits for the next message; None at the end. ValueError for an invalid one."""
        try:
            return decode_node(self._connection.recv_bytes(MOST_BYTES))
        except (EOFError, OSError):
            return None

    def has_more(self) -> bool:
        return self._connection.poll(0)

    def close(self) -> None:
        self._connection.close()

    def prove(self, key: str, *, first: bool) -> None:
        """Both ends prove that they know the key, which is never sent. AuthenticationError, OSError or EOFError on
        failure.

        Until `trust` is called, each message of an agent must arrive within five seconds.
        """
        steps = (deliver_challenge, answer_challenge) if first else (answer_challenge, deliver_challenge)
        _limit_reading(self.fileno(), _GREETING_S if first else _TURN_S)
        for step in steps:
            step(self._connection, key.encode())

    def trust(self) -> None:
        """From now on the other end may stay silent for any time."""
        _limit_reading(self.fileno(), 0.0)


class NodeListener:
    """Accepts connections on one interface. A context manager; nothing listens after it."""

    def __init__(self, address: str, port: int, key: str) -> None:
        """`port` 0 takes a free one. UsageError if address or port is not available."""
        self._key = key
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._socket = socket.create_server((address, port), family=family, backlog=4096)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {address}:{port}: {os.strerror(error.errno or 0)}",
                hint="Another program has the port: choose another one, or leave `port` out to take a free one."
                if port
                else "`interface` must be one of this machine.",
            ) from error
        self.port = int(self._socket.getsockname()[1])
        self.address = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> NodeConnection:
        """Accepts a pending connection. WorkerError if the peer has another key, or is silent for five seconds."""
        wire, _ = self._socket.accept()
        connection = NodeConnection(wire)
        try:
            connection.prove(self._key, first=True)
        except (AuthenticationError, EOFError, OSError, ValueError) as error:
            connection.close()
            raise WorkerError(f"a connection from {connection.peer} did not know this run's key and was refused") from (
                error
            )
        return connection

    def close(self) -> None:
        self._socket.close()


def connect(host: str, port: int, key: str, patience_s: float = 0.0) -> NodeConnection:
    """UsageError if nothing listens there within `patience_s` seconds, or the key is wrong."""
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            wire = socket.create_connection((host, port), timeout=_CONNECT_S)
            break
        except OSError as error:
            if time.monotonic() < deadline_s:
                time.sleep(_AGAIN_S)
                continue
            raise UsageError(
                f"cannot reach a run at {host}:{port}: {error.strerror or error}",
                hint="It listens only until all of its nodes have connected.",
            ) from error
    wire.settimeout(None)
    connection = NodeConnection(wire)
    try:
        connection.prove(key, first=False)
        connection.trust()
    except (AuthenticationError, EOFError, OSError, ValueError) as error:
        connection.close()
        raise UsageError(
            f"the run at {host}:{port} refused the key", hint=f"{KEY_VARIABLE} must hold the key of this run."
        ) from error
    return connection


def _notice_a_dead_peer(wire: socket.socket) -> None:
    """Closes the connection some seconds after a machine stops answering, as when it loses power."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _SILENT_S),
        ("TCP_KEEPINTVL", _PROBE_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", 1000 * (_SILENT_S + _PROBE_S * _PROBES)),
    ):
        if hasattr(socket, name):
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _limit_reading(descriptor: int, seconds: float) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), 0))
