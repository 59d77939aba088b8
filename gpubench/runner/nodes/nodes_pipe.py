"""A job on several nodes, heard as one child."""

import os
import selectors
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from gpubench.protocol.messages import Job
from gpubench.protocol.node_messages import FromChild, NodeDone
from gpubench.runner.launch.job_pipe import Heard
from gpubench.runner.nodes.cluster import ClusterNode
from gpubench.store.atomic_files import open_own


class NodesPipe(ABC):
    """A context manager, heard as a `JobPipe` is."""

    def __init__(self, job: Job, nodes: Iterable[ClusterNode], wake_fd: int) -> None:
        self._job = job
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake_fd, selectors.EVENT_READ, None)
        for node in nodes:
            if node.connection is not None and node.ready:
                self._selector.register(node.connection, selectors.EVENT_READ, node)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    @abstractmethod
    def stop(self, *, now: bool) -> None: ...
    @abstractmethod
    def wait(self, timeout_s: float) -> list[Heard] | None: ...
    @abstractmethod
    def _take(self, node: ClusterNode, message: Any, heard: list[Heard]) -> None: ...
    @abstractmethod
    def _finish(self, node: ClusterNode, done: NodeDone) -> None: ...
    @abstractmethod
    def _gone(self, node: ClusterNode) -> None: ...

    def rest(self) -> tuple[list[Heard], bool]:
        """Nothing: a job on nodes ends with their last message."""
        return [], False

    def _read(self, timeout_s: float) -> tuple[bool, list[Heard]]:
        """Whether anything happened in time, and the messages to pass on."""
        heard: list[Heard] = []
        ready = self._selector.select(timeout_s)
        for node in (key.data for key, _ in ready if key.data is not None):
            connection, message = node.connection, node.read()
            if message is None:
                self._selector.unregister(connection)
                self._gone(node)
            elif isinstance(message, FromChild) and message.job == self._job.job:
                self._take(node, message.message, heard)
            elif isinstance(message, NodeDone) and message.job == self._job.job:
                self._finish(node, message)
        return bool(ready), heard

    def _keep_log(self, text: str) -> None:
        descriptor = open_own(Path(self._job.log), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(descriptor, "ab") as file:
            file.write(text.encode())
