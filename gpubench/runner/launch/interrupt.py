"""Ctrl-C as a request: once to end the step and store, twice to stop now."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """A context manager that turns SIGINT, SIGTERM and SIGHUP into a count, and wakes what waits on `fd`.

    Outside of the main thread signals cannot be caught: the guard then never counts, unless `request` is called.
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
        """As a signal does: asks for the end of the run, and the second time for its end at once."""
        self.requests += 1
        with contextlib.suppress(BlockingIOError):  # full of wake-ups that have not been read yet: no more is needed
            os.write(self._writer, b"!")

    def drain(self) -> None:
        """Takes the wake-ups out of `fd`, so that the next one is seen."""
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
    """While nothing is measured, SIGTERM and SIGHUP end a run as Ctrl-C does: by KeyboardInterrupt, which cleans up."""

    def end(*_: object) -> NoReturn:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # cleaning up is not disturbed
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {each: signal.signal(each, end) for each in _caught_signals() if each != signal.SIGINT}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
