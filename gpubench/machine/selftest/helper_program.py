"""A helper program that answers in JSON lines on its stdout."""

import json
import os
import queue
import subprocess
import threading
from types import TracebackType
from typing import Any, Self

from gpubench.protocol import start_module


class ProgramError(Exception):
    """The program reported an error, ended early, or did not answer in time."""


class Program:
    """`python -m MODULE ARGUMENTS` in its own process group, killed when the block is left."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            start_module.command(module, *arguments),
            env=os.environ | start_module.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._forward, daemon=True),
            threading.Thread(target=self._collect, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _forward(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _collect(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(5.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def line(self, timeout_s: float) -> dict[str, Any]:
        """The next line. ProgramError if it is an error, or there is none within `timeout_s` seconds."""
        try:
            text = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise ProgramError(f"no answer within {timeout_s:g} s") from None
        if text is None:
            self._threads[1].join(5.0)  # what it wrote to stderr may be read a little later
            last = self._errors[-1].strip() if self._errors else f"exit status {self._process.wait()}"
            raise ProgramError(f"ended early: {last}")
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ProgramError(f"not an answer: {text[:80]!r}")
        if "error" in content:
            raise ProgramError(str(content["error"]))
        return content
