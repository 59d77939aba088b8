"""Adds the packages of the interpreter that an arm's environment was made from. It is copied there and runs at startup.

A package in development mode would import from the repository's working tree. Paths into it are left out, so that only
the revision comes from the repository.
"""

import os
import re
import site
import sys
from pathlib import Path


def add(root: str, outside: tuple[str, ...], folders: tuple[str, ...]) -> None:
    """Puts `folders` on the path as `site` does, without .pth files that lead into `root`.

    Folders in `outside` do not count as part of `root`: an environment may lie inside a repository.
    """

    def inside(path: str) -> bool:
        real = os.path.realpath(path) + os.sep
        return real.startswith(root) and not real.startswith(outside)

    def leads_there(file: Path) -> bool:
        for line in _read(file).splitlines():
            if not line.startswith(("import ", "import\t")):
                if line.strip() and inside(str(file.parent / line.strip())):
                    return True
                continue
            finders = [_read(file.parent / f"{word}.py") for word in re.findall(r"\w+", line)]
            if any(inside(path) for text in (line, *finders) for path in re.findall(r"""/[^'"\s]+""", text)):
                return True
        return False

    for folder in map(Path, folders):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.append(str(folder))
            for file in sorted(folder.glob("*.pth")):
                if not leads_there(file):
                    site.addpackage(str(folder), file.name, None)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
