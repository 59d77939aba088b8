"""The files that a workload's code came from: what of this process is neither installed nor part of this package."""

import hashlib
import os
import sys
import sysconfig
from pathlib import Path

_PACKAGE = str(Path(__file__).resolve().parents[1])
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCH_EXTENSIONS_DIR")
"""Compilers leave modules there that have another name each time."""


def loaded_files(scratch: str | None = None) -> dict[str, str]:
    """Digest by path. Nothing below `scratch`, the folder of this launch, is part of it."""
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    caches = [scratch, *map(os.environ.get, _CACHES)]
    outside = tuple(f"{folder}{os.sep}" for folder in (_PACKAGE, *standard, *installed, *caches) if folder)
    outside += tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in outside)
    files = {}
    for _, path in module_files():
        if path.startswith(outside) or os.path.realpath(path).startswith(outside):
            continue
        try:
            files[path] = file_digest(Path(path))
        except OSError:
            continue  # made on the fly, and removed
    return dict(sorted(files.items()))


def module_files() -> list[tuple[str, str]]:
    """Name and file of every module that this process has loaded from one, by name."""
    files = [(name, getattr(module, "__file__", None)) for name, module in sorted(sys.modules.items())]
    # torch has modules that only say they are files
    return [(name, path) for name, path in files if isinstance(path, str) and Path(path).is_absolute()]


def file_digest(path: Path) -> str:
    """Sixteen hex digits of its SHA-256. OSError if it cannot be read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def joint_digest(files: dict[str, str]) -> str | None:
    """One digest for all of them, whatever folder they are in; None for no files."""
    if not files:
        return None
    text = "\n".join(sorted(f"{Path(path).name} {digest}" for path, digest in files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
