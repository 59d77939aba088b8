"""The long series of a launch (step times, phase marks, telemetry), in a file of their own beside the records."""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpubench.core.errors import StoreError
from gpubench.store.atomic_files import store_error, write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLES_FOLDER = "samples"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_samples(folder: Path, name: str, arrays: Mapping[str, Sequence[float | None]]) -> str:
    """Write `samples/<name>.npz` whole or not at all; gives its path relative to the run folder. None becomes NaN.

    The same arrays give the same bytes. StoreError if it cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of a samples file: {name!r}")
    relative = Path(SAMPLES_FOLDER) / f"{name}.npz"
    path = folder / relative
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise store_error("make", path.parent, error) from error
    write_atomically(path, _npz(arrays), partial=path.with_name(f".{name}.tmp"))
    return relative.as_posix()


def _npz(arrays: Mapping[str, Sequence[float | None]]) -> bytes:
    # numpy.savez takes names as keywords, among which `file` is not free, and stamps the time into the archive.
    import numpy as np

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(values, dtype=np.float64), allow_pickle=False)
    return content.getvalue()


def read_samples(folder: Path, relative: str) -> "dict[str, NDArray[np.float64]]":
    """The arrays of a samples file by name. StoreError for one that is missing, damaged or outside the run folder."""
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"a record of {folder} names samples outside the run folder: {relative!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()}
    except FileNotFoundError:
        raise StoreError(
            f"{path} is missing", hint="The records stand without it; only the single step times are gone."
        ) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    except (ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(
            f"{path} is damaged: {error}", hint="The records stand without it; only the single step times are gone."
        ) from error


def _array(archive: zipfile.ZipFile, name: str) -> "NDArray[np.float64]":
    import numpy as np

    with archive.open(name) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False), dtype=np.float64)
