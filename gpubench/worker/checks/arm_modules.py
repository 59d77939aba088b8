"""Whether the code under test comes from the git revision that this environment was made for."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gpubench.protocol.loaded_files import module_files

INSTALLED = "installed.json"
"""A file in environments of `runner.arms.install_revision`: the commit, the modules it installs, and its repository."""


def not_of_the_revision(search_path: Sequence[str] = (), prefix: str = sys.prefix) -> str | None:
    """A module that was loaded from elsewhere; None if there is none, or the environment was not made for a revision.

    Modules on `search_path`, beside the suite, are workloads and may lie in the repository's working tree.
    """
    try:
        installed = json.loads((Path(prefix) / INSTALLED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    names, root = set(installed["modules"]), installed.get("root")
    allowed = tuple(_folder(each) for each in (prefix, *search_path, *(p for p in sys.path if "site-packages" in p)))
    for name, path in module_files():
        real = os.path.realpath(path)
        strange = name.partition(".")[0] in names and not real.startswith(_folder(prefix))
        if strange or (root is not None and real.startswith(_folder(root)) and not real.startswith(allowed)):
            return f"{name} was loaded from {path}, not from the revision {installed.get('commit', '')[:12]}"
    return None


def _folder(path: str) -> str:
    return os.path.realpath(path) + os.sep
