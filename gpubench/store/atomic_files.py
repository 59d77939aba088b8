"""Writes files whole or not at all, never through links, and reads only regular files of limited size."""

import errno
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gpubench.core.errors import StoreError
from gpubench.core.secrets import mask_text
from gpubench.core.units import format_bytes

MIN_FREE_BYTES = 16 * 2**20
"""Free space that a run needs to start: step times and logs of a launch take up to some 2 MB."""

_PROBE_BYTES = 2**20
PROBE_NAME = ".probe"

MOST_BYTES = 128 * 2**20
"""Largest file that is read whole: ten thousand cases take some 15 MiB."""

MOST_LOG_BYTES = 2 * 2**20
"""How much of a launch's output is kept."""

_REMOVE_IT = "Check what it is, and remove it: gpubench then makes a new one."
_ELSEWHERE = "Choose another place with --store DIR or --out DIR."
_FULL = "Free some space; what was stored before stays readable. "
_NOT_YOURS = "It must be a folder you can write to. "
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "A limit on file sizes (`ulimit -f`) or the file system stopped it. ",
    errno.EACCES: _NOT_YOURS,
    errno.EPERM: _NOT_YOURS,
    errno.EROFS: "The file system is read-only. ",
}


def store_error(action: str, path: Path, error: OSError, elsewhere: str = _ELSEWHERE) -> StoreError:
    """`cannot write X: no space left on device`, with a hint that fits the cause and ends with `elsewhere`: how to
    choose another place.
    """
    why = (error.strerror or str(error)).lower()
    return StoreError(f"cannot {action} {path}: {why}", hint=_REMEDIES.get(error.errno or 0, "") + elsewhere)


def write_atomically(path: Path, content: bytes, *, partial: Path | None = None) -> None:
    """Write and fsync beside `path`, then rename: a reader sees the old file or the new one. StoreError if it fails.

    `partial` is the name used until then; the default is safe where several processes write the same file.
    """
    try:
        replace_file(path, content, partial=partial, durable=True)
    except OSError as error:
        raise store_error("write", path, error) from error


def write_output(path: Path, content: str | bytes) -> None:
    """A file that the user named, whole or not at all. A link is replaced; pipes, devices and `/dev/stdout` are written
    to. StoreError if it fails.
    """
    prepare_output(path)
    stored = content.encode() if isinstance(content, str) else content
    try:
        if _is_written_to(path):
            with path.open("ab") as file:
                file.write(stored)
        else:
            replace_file(path, stored, durable=True, mode=0o666)
    except OSError as error:
        raise _not_written(path, error) from error


def prepare_output(path: Path) -> None:
    """Makes the folder for `write_output` before hours of work. StoreError if nothing can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(path.parent, error, "make") from error
    try:
        is_folder = path.is_dir()
        place = path if _is_written_to(path) else path.parent
        if not is_folder:
            _beside(path).exists()  # its name is longer, and may be too long
    except OSError as error:
        raise _not_written(path, error) from error
    problem = errno.EISDIR if is_folder else errno.EACCES
    if is_folder or not os.access(place, os.W_OK):
        raise _not_written(path, OSError(problem, os.strerror(problem)))


def _is_written_to(path: Path) -> bool:
    """Whether it stays, instead of being replaced: a device, a pipe, or a link of the system to an open file."""
    folder = path.parent.resolve()
    stands_for_another = path.is_symlink() and (folder == Path("/dev") or folder.is_relative_to("/proc"))
    return stands_for_another or (path.exists() and not path.is_file())


def _beside(path: Path) -> Path:
    """Where the content of `path` is until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def _not_written(path: Path, error: OSError, action: str = "write") -> StoreError:
    why = (error.strerror or str(error)).lower()
    return StoreError(f"cannot {action} {path}: {why}", hint="Name a file in a folder that you can write to.")


def replace_file(
    path: Path, content: bytes, *, partial: Path | None = None, durable: bool = False, mode: int = 0o644
) -> None:
    """Like `write_atomically`, but raises OSError; only `durable` survives a power cut. A link at `path` is
    replaced.
    """
    beside = partial or _beside(path)
    try:
        remove_if_there(beside)
        with os.fdopen(open_own(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        remove_if_there(beside)
        raise


def open_own(path: Path, flags: int, mode: int = 0o644) -> int:
    """A descriptor of a file that gpubench writes. StoreError if `path` is a link, a second name, or no regular file.

    OSError as `os.open`. A link planted in a run folder must not choose what is overwritten.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StoreError(f"{path} is a link, and gpubench does not write through links", hint=_REMOVE_IT) from error
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    what = "has a second name (a hard link)" if stat.S_ISREG(facts.st_mode) else "is not a regular file"
    raise StoreError(f"{path} {what}, so gpubench does not write to it", hint=_REMOVE_IT)


def inside(folder: Path, relative: str | Path) -> Path:
    """A path in a run folder. StoreError if it leads out of it: by `..`, from the root, or through a link."""
    path = folder / relative
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"{str(relative)[:200]!r} in {folder} is not a path: {error}") from error
    raise StoreError(f"{str(relative)[:200]!r} is outside the run folder {folder}", hint=_REMOVE_IT)


def open_regular(path: Path, most_bytes: int = MOST_BYTES) -> BinaryIO:
    """A stored file for reading. StoreError for a pipe, a device, or more than `most_bytes`; OSError like `open`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and facts.st_size <= most_bytes:
        return os.fdopen(descriptor, "rb", buffering=2**18)
    os.close(descriptor)
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(facts.st_mode):
        raise StoreError(f"{path} is not a regular file")
    size, most = format_bytes(facts.st_size), format_bytes(most_bytes)
    raise StoreError(f"{path} is too large to be read: {size}, and at most {most} are expected")


def read_regular(path: Path) -> bytes:
    """The content of a stored file; errors as for `open_regular`."""
    with open_regular(path) as file:
        return file.read(MOST_BYTES + 1)


def read_end(path: Path, most_bytes: int) -> tuple[str, bool]:
    """The last `most_bytes` of a log of any size, and whether that is all of it. Errors as for `open_regular`."""
    with open_regular(path, sys.maxsize) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most_bytes))
        return file.read(most_bytes).decode(errors="backslashreplace"), size <= most_bytes


def tidy_log(path: Path, most_bytes: int = MOST_LOG_BYTES) -> None:
    """Keeps the beginning and end of a long log, so that a workload that prints in every step does not fill the disk,
    and withholds what looks like a secret.
    """
    with os.fdopen(open_own(path, os.O_RDWR), "r+b") as file:
        half, size = most_bytes // 2, file.seek(0, os.SEEK_END)
        if size > most_bytes:
            file.seek(size - half)
            end = file.read(half)
            file.truncate(half)
            file.seek(half)
            file.write(f"\n[{size - 2 * half} bytes left out here]\n".encode() + end)
        file.seek(0)
        text = file.read().decode(errors="surrogateescape")
        if (shown := mask_text(text)) != text:
            file.seek(0)
            file.write(shown.encode(errors="surrogateescape"))
            file.truncate()


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
        # Random, so that a compressing file system cannot shrink it.
        remove_if_there(probe)
        with os.fdopen(open_own(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(os.urandom(_PROBE_BYTES))
    except OSError as error:
        raise store_error("write to", folder, error) from error
    finally:
        remove_if_there(probe)


def expand_home(path: str) -> Path:
    """The path unchanged if there is no home folder, where `Path.expanduser` would raise."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - see above
