"""The long series of a launch (step times, phase marks, telemetry), in a file beside the records."""

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
_ONLY_STEPS = "The records can be read without it; only the single step times are lost."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_samples(folder: Path, name: str, arrays: Mapping[str, Sequence[float | None]]) -> str:
    """Write `samples/<name>.npz` whole or not at all; gives its path relative to the run folder. None becomes NaN.

    The same arrays give the same bytes. StoreError if it cannot be written.
    """
    import numpy as np

    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of a samples file: {name!r}")
    relative = Path(SAMPLES_FOLDER) / f"{name}.npz"
    path = folder / relative
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise store_error("make", path.parent, error) from error
    content = io.BytesIO()
    # numpy.savez takes names as keywords, among which `file` is not free, and stamps the time into the archive.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for series, values in arrays.items():
            entry = zipfile.ZipInfo(f"{series}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(values, dtype=np.float64), allow_pickle=False)
    write_atomically(path, content.getvalue(), partial=path.with_name(f".{name}.tmp"))
    return relative.as_posix()


def read_samples(folder: Path, relative: str) -> "dict[str, NDArray[np.float64]]":
    """The arrays of a samples file by name. StoreError for one that is missing, damaged or outside the run folder."""
    import numpy as np

    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"a record of {folder} names samples outside the run folder: {relative!r}")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    array = np.asarray(np.lib.format.read_array(file, allow_pickle=False), dtype=np.float64)
                arrays[name.removesuffix(".npy")] = array
    except FileNotFoundError:
        raise StoreError(f"{path} is missing", hint=_ONLY_STEPS) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    except (ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path} is damaged: {error}", hint=_ONLY_STEPS) from error
    return arrays
