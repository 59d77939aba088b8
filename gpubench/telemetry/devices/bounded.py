"""Calls into a driver that may never come back, given a limit."""

import threading
from collections.abc import Callable
from typing import TypeVar

from gpubench.telemetry.devices.base import TelemetryError

Answer = TypeVar("Answer")


def bounded(call: Callable[[], Answer], timeout_s: float, *, what: str) -> Answer:
    """The answer of `call`, run in a daemon thread; its exceptions are raised here.

    TelemetryError if there is none after `timeout_s` seconds: the thread is left behind, because nothing can end a
    thread inside a C call.
    """
    answer: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            errors.append(error)

    thread = threading.Thread(target=run, name=f"gpubench {what}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not answer:
        raise TelemetryError(
            f"{what} did not answer within {timeout_s:g} s",
            remedy="The driver hangs: look at `dmesg` for Xid messages; a reset or reboot is usually needed.",
        )
    return answer[0]
