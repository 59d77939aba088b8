"""Handles Ctrl-C: once to finish the step and store it, twice to stop at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """A context manager that counts SIGINT, SIGTERM and SIGHUP, and wakes a wait on `fd`.

    Outside the main thread signals cannot be caught; only `request` then counts.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.fd, self._writer = os.pipe()
        for fd in (self.fd, self._writer):
            os.set_blocking(fd, False)
        self._before: dict[int, signal.Handlers | int | object] = {}

    @property
    def stopping(self) -> bool:
        return self.requests > 0

    @property
    def now(self) -> bool:
        return self.requests > 1

    def request(self) -> None:
        """Counts like a signal: the first asks the run to end, the second to end at once."""
        self.requests += 1
        with contextlib.suppress(BlockingIOError):  # full of unread wake-ups, which is enough
            os.write(self._writer, b"!")

    def drain(self) -> None:
        """Reads the wake-ups from `fd`, so that the next one is noticed."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 64):
                pass

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _caught_signals():
                self._before[number] = signal.signal(number, lambda *_: self.request())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()
        os.close(self.fd)
        os.close(self._writer)


def _caught_signals() -> list[signal.Signals]:
    """SIGHUP stays ignored under `nohup`."""
    return [each for each in _SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Outside measurements, lets SIGTERM and SIGHUP end a run as Ctrl-C does: by KeyboardInterrupt, which cleans up."""

    def end(*_: object) -> NoReturn:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # not during clean-up
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {each: signal.signal(each, end) for each in _caught_signals() if each != signal.SIGINT}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
