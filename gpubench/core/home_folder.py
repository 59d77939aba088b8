"""`~` at the start of a path, for a user id without a home folder too."""

import os
from pathlib import Path


def expand_home(path: str) -> Path:
    """The path as it is where there is no home folder: `Path.expanduser` raises then."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - see above
