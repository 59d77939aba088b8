"""Prepares the standard streams: closed ones become usable, and messages that cannot be written end no command."""

import io
import os
import sys
from typing import Any


class _Messages(io.FileIO):
    """Standard error. `lost` is the first error in writing: a full disk, or a reader that is gone."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.lost = self.lost or error
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """A closed stdin or stderr becomes /dev/null, or a file opened later would get its number.

    From now on, messages that cannot be written to stderr are dropped: a measurement is worth more than its progress.
    """
    for number in (0, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    if sys.stderr is sys.__stderr__:  # a test or a host program may have replaced it
        messages = io.BufferedWriter(_Messages(2, "wb", closefd=False))
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr = io.TextIOWrapper(messages, encoding=encoding, errors="backslashreplace", line_buffering=True)


def why_messages_were_lost() -> OSError | None:
    """Why something written to stderr was lost; None if nothing was, as far as is known."""
    sys.stderr.flush()
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, _Messages) else None


def discard_stdout() -> None:
    """Point stdout at /dev/null, so that the interpreter's flush at exit does not fail."""
    try:
        descriptor = sys.stdout.fileno()
    except (ValueError, OSError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
