"""The standard input of a program that runs several times."""

import os
import select
import stat
from typing import IO


class SharedInput:
    """What all runs of a program read from. A file is read from the same place by each run; a pipe gives its content to
    the first run that reads, and the next ones would do other work.
    """

    def __init__(self, stream: int | IO[bytes] = 0) -> None:
        self._fd = stream if isinstance(stream, int) else stream.fileno()
        self._start: int | None = None
        self._is_pipe = False
        try:
            mode = os.fstat(self._fd).st_mode
            self._is_pipe = stat.S_ISFIFO(mode)
            self._start = os.lseek(self._fd, 0, os.SEEK_CUR) if stat.S_ISREG(mode) else None
        except OSError:  # closed
            pass
        self._was_empty = self._is_pipe and self._at_end()

    def rewind(self) -> None:
        """Before a run: back to where the first one began, if this is a file."""
        if self._start is not None:
            os.lseek(self._fd, self._start, os.SEEK_SET)

    @property
    def is_spent(self) -> bool:
        """Whether this is a pipe whose content has been read to its end, so that another run finds nothing in it."""
        return self._is_pipe and not self._was_empty and self._at_end()

    def _at_end(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        events = dict(poll.poll(0)).get(self._fd, 0)
        return bool(events & select.POLLHUP) and not events & select.POLLIN
