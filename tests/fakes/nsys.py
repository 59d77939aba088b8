"""The real nsys, if there is one or one can be fetched: `$GPUBENCH_NSYS`, PATH, the cache of `scripts/fetch_nsys.sh`.

With `GPUBENCH_FETCH_NSYS=1`, as in `make test`, the script fetches it where Debian's archive can be reached.
"""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from gpubench.profile.capture.run_tool import run_tool

SCRIPT = Path(__file__).parents[2] / "scripts" / "fetch_nsys.sh"
FETCH_LIMIT_S = 270.0


@cache
def find_nsys() -> tuple[str | None, str]:
    """Its path, or None and the reason."""
    named = os.environ.get("GPUBENCH_NSYS") or shutil.which("nsys")
    if named:
        return named, ""
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpubench" / "nsys" / "nsys"
    if os.access(cached, os.X_OK):
        return str(cached), ""
    if os.environ.get("GPUBENCH_FETCH_NSYS") != "1":
        return None, "no nsys: $GPUBENCH_NSYS, PATH and the cache have none (scripts/fetch_nsys.sh gets one)"
    return _fetched(cached)


def _fetched(cached: Path) -> tuple[str | None, str]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        ended = run_tool([str(SCRIPT), str(cached.parent)], log=log, environ=dict(os.environ), timeout_s=FETCH_LIMIT_S)
        if ended.exit_status == 0:
            return str(cached), ""
        why = f"took longer than {FETCH_LIMIT_S:.0f} s" if ended.timed_out else ended.last_lines(1)
    return None, f"no nsys could be fetched: {why}"
