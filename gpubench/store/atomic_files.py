"""Files are written whole or not at all, and a sentence says why one cannot be written."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from gpubench.core.errors import StoreError
from gpubench.core.units import format_bytes

MIN_FREE_BYTES = 16 * 2**20
"""Below this no run is started: step times and logs of a launch take up to some 2 MB."""

_PROBE_BYTES = 2**20
PROBE_NAME = ".probe"

_ELSEWHERE = "Choose another place with --store DIR or --out DIR."
_FULL = "Free some space, or choose another place with --store DIR. What was stored before stays readable."
_HINTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "A limit on file sizes (`ulimit -f`) or the file system stopped it. " + _ELSEWHERE,
    errno.EACCES: "It must be a folder you can write to. " + _ELSEWHERE,
    errno.EPERM: "It must be a folder you can write to. " + _ELSEWHERE,
    errno.EROFS: "The file system is read-only. " + _ELSEWHERE,
}


def store_error(action: str, path: Path, error: OSError) -> StoreError:
    """`cannot write X: no space left on device`, with the way out that fits the cause."""
    why = (error.strerror or str(error)).lower()
    return StoreError(f"cannot {action} {path}: {why}", hint=_HINTS.get(error.errno or 0, _ELSEWHERE))


def write_atomically(path: Path, content: bytes, *, partial: Path | None = None) -> None:
    """Write and fsync beside `path`, then rename: a reader sees the old file or the new one. StoreError if it fails.

    `partial` is the name used until then; the default is safe where several processes write the same file.
    """
    beside = partial or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        remove_if_there(beside)
        raise store_error("write", path, error) from error
    except BaseException:
        remove_if_there(beside)
        raise


def sync_folder(folder: Path) -> None:
    """Make names in `folder` survive a power cut. File systems that cannot sync a folder are left alone."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def remove_if_there(path: Path) -> None:
    """Remove a leftover. If it stays, it does no harm: its name is hidden and never read."""
    with suppress(OSError):
        path.unlink()


def check_room(folder: Path) -> None:
    """StoreError unless `folder` can be written and has `MIN_FREE_BYTES`. Writes a MiB, as only that shows a quota."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise store_error("use", folder, error) from error
    if free < MIN_FREE_BYTES:
        raise StoreError(
            f"{folder} has {format_bytes(free)} left on its disk; a run needs at least {format_bytes(MIN_FREE_BYTES)}",
            hint="Free some space, or choose another place with --store DIR.",
        )
    probe = folder / PROBE_NAME
    try:
        # Random, so that a file system that compresses cannot make it small.
        probe.write_bytes(os.urandom(_PROBE_BYTES))
    except OSError as error:
        raise store_error("write to", folder, error) from error
    finally:
        remove_if_there(probe)
