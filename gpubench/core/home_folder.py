"""Expands `~` at the start of a path, also for a user id without a home folder."""

import os
from pathlib import Path


def expand_home(path: str) -> Path:
    """The path unchanged if there is no home folder, where `Path.expanduser` would raise."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - see above
