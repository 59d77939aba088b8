"""The long series of a launch (step times, phase marks, telemetry), in a file beside the records."""

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpubench.core.errors import StoreError
from gpubench.core.units import format_bytes
from gpubench.store.atomic_files import MOST_BYTES, inside, open_regular, store_error, write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLES_FOLDER = "samples"
_ONLY_STEPS = "The records can be read without it; only the single step times are lost."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_samples(folder: Path, name: str, arrays: Mapping[str, Sequence[float | None]]) -> str:
    """Write `samples/<name>.npz` whole or not at all, and return its path relative to the run folder. None becomes NaN.

    The same arrays give the same bytes. StoreError if it cannot be written.
    """
    import numpy as np

    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of a samples file: {name!r}")
    relative = Path(SAMPLES_FOLDER) / f"{name}.npz"
    path = inside(folder, relative)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise store_error("make", path.parent, error) from error
    content = io.BytesIO()
    # numpy.savez takes names as keywords, so none may be `file`, and writes the time into the archive.
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
    path = inside(folder, relative)
    arrays = {}
    try:
        with open_regular(path) as content, zipfile.ZipFile(content) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MOST_BYTES:
                raise StoreError(
                    f"{path} unpacks to {format_bytes(unpacked)}, too much for step times", hint=_ONLY_STEPS
                )
            for entry in archive.infolist():
                array = _array(archive.read(entry))
                arrays[entry.filename.removesuffix(".npy")] = array
    except FileNotFoundError:
        raise StoreError(f"{path} is missing", hint=_ONLY_STEPS) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    except (ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path} is damaged: {error}", hint=_ONLY_STEPS) from error
    return arrays


def _array(content: bytes) -> "NDArray[np.float64]":
    """The array of a .npy file. ValueError unless it is as long as its header says, which is checked before
    allocating.
    """
    import numpy as np

    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read_header(file)
    if kind.hasobject or math.prod(shape) * kind.itemsize != len(content) - file.tell():
        raise ValueError("an array is not as long as its header says, or holds no numbers")
    return np.asarray(np.frombuffer(content, kind, offset=file.tell()), dtype=np.float64)
