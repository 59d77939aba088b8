"""An append-only file of lines. After a crash or a full disk it can be read up to its last whole line."""

import os
from contextlib import suppress
from pathlib import Path

from gpubench.core.errors import StoreError
from gpubench.store.atomic_files import open_own, store_error

_BLOCK_BYTES = 2**16


class Journal:
    """Appends lines durably. The caller holds the folder's lock, so there is no other writer."""

    def __init__(self, path: Path) -> None:
        """Open or make the file and cut off a torn last line. StoreError if it fails."""
        self._path = path
        try:
            self._descriptor: int | None = open_own(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise store_error("open", path, error) from error
        try:
            self._end = _end_of_whole_lines(self._descriptor)
            self._cut()
        except OSError as error:
            self.close()
            raise store_error("open", path, error) from error

    def append(self, line: bytes) -> None:
        """Store one line (given without its newline), fsynced when this returns.

        If it cannot be stored whole, the file is cut back to what it was and StoreError is raised.
        """
        assert b"\n" not in line, "a line has no newline inside"
        if self._descriptor is None:
            raise ValueError("this journal is closed")
        content = line + b"\n"
        try:
            self._cut()
            rest, offset = memoryview(content), self._end
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
            os.fsync(self._descriptor)
        except BaseException as error:
            # If this fails too, the next append cuts, and readers drop a torn line anyway.
            with suppress(OSError, StoreError):
                self._cut()
            if isinstance(error, OSError):
                raise store_error("write", self._path, error) from error
            raise
        self._end += len(content)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _cut(self) -> None:
        """Cuts the file back to its last whole line. StoreError if another program removed stored lines or replaced the
        file.

        Writing on at the old end would fill the gap with zeros and lose the following lines too.
        """
        if self._descriptor is None:
            return
        facts = os.fstat(self._descriptor)
        if facts.st_size < self._end or facts.st_nlink == 0:
            what = "removed" if facts.st_nlink == 0 else f"cut from {self._end} to {facts.st_size} bytes"
            raise StoreError(
                f"{self._path} was {what} by another program while the run wrote to it",
                hint="What is left of it can be read; --resume measures the launches that it lacks.",
            )
        if facts.st_size > self._end:
            os.ftruncate(self._descriptor, self._end)


def _end_of_whole_lines(descriptor: int) -> int:
    """Offset after the last newline, searched backwards from the end of the file."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
