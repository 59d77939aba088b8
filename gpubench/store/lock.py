"""One writer per run folder, across processes."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from gpubench.core.errors import StoreError
from gpubench.store.atomic_files import open_own, remove_if_there, store_error

LOCK_NAME = ".lock"


class FolderLock:
    """An exclusive `flock` on a file in the folder, which also says who holds it.

    The kernel releases it when the process ends, however it ends: a killed process leaves no lock.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, folder: Path) -> "FolderLock":
        """StoreError, with the holder's process id, if another live process holds it."""
        path = folder / LOCK_NAME
        try:
            descriptor = _locked(path)
        except OSError as error:
            raise store_error("lock", folder, error) from error
        lock = cls(path, descriptor)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            lock.release()
            raise store_error("lock", folder, error) from error
        return lock

    def release(self) -> None:
        """Release the lock and remove its file. Releasing again is harmless."""
        if self._descriptor is None:
            return
        # Removed while held, so that no process can lock a file that is about to lose its name.
        remove_if_there(self._path)
        os.close(self._descriptor)
        self._descriptor = None


def _locked(path: Path) -> int:
    while True:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(descriptor)):
                    return descriptor
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreError(
                f"{path.parent} is in use by {f'process {holder}' if holder.isdigit() else 'another process'}",
                hint="A run folder has one writer at a time: wait for that run to end, or choose another folder.",
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        # Its last holder removed the name between our open and our lock: take the new file.
        os.close(descriptor)
