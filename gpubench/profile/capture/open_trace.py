"""Opens a trace as a person names it: a report of nsys goes through its own export first."""

import os
from pathlib import Path

from gpubench.profile.capture.profiler_tools import find_tool
from gpubench.profile.capture.run_tool import export, scratch_folder
from gpubench.profile.capture.secrets import without_secrets
from gpubench.profile.traces.read_trace import NSYS_OLD_REPORT, NSYS_REPORT, check_readable, read_trace
from gpubench.profile.traces.trace import Trace


def open_trace(path: Path, nsys: str | None = None) -> Trace:
    """The trace in a file of any kind that is known. `nsys` names the one that exports a report.

    TraceError if it cannot be read, ToolAbsentError if a report was given and there is no nsys.
    """
    check_readable(path)
    if path.suffix not in (NSYS_REPORT, NSYS_OLD_REPORT):
        return _named(read_trace(path), path)
    tool = find_tool("nsys", nsys)
    environ, _ = without_secrets(os.environ)
    with scratch_folder() as folder:
        return _named(read_trace(export(tool, path, folder / "profile.sqlite", environ=environ)), path)


def _named(trace: Trace, path: Path) -> Trace:
    trace.source = str(path)
    return trace
