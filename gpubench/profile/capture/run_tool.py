"""Runs a profiler and finds out how it ended.

A profiler's exit status says little: nsys exits 0 if its range never opened, if its importer is missing, and if an
export failed. So success means that the expected file exists; otherwise the log tells the reason.
"""

import os
import re
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gpubench.core.errors import ExitStatus, GpubenchError
from gpubench.core.secrets import without_secrets
from gpubench.profile.capture.profiler_tools import C_LOCALE, Tool, export_command, find_tool
from gpubench.profile.traces.read_trace import check_readable, read_trace
from gpubench.profile.traces.trace import NSYS_OLD_REPORT, NSYS_REPORT, NSYS_UNIMPORTED, Trace, TraceError
from gpubench.store.atomic_files import open_own, read_end

INSIDE = ("NSYS_PROFILING_SESSION_ID", "NV_COMPUTE_PROFILER_PERFWORKS_DIR", "CUDA_INJECTION64_PATH")
"""Variables that profilers set for the programs they run."""

EXPORT_LOG = "profile.export.log"
_MARK = "GPUBENCH_PROFILE_SESSION"
_GRACE_S = 5.0
_EXPORT_TIMEOUT_S = 600.0
_LOG_LINES = 12
_TAIL_BYTES = 2**16
_NO_PERMISSION = re.compile(
    r"ERR_NVGPUCTRPERM|INSUFFICIENT_PRIVILEGES|insufficient privilege|permission to access", re.IGNORECASE
)
_PERMISSION_HINT = (
    "Counters of the GPU are reserved for administrators here. Ask for NVreg_RestrictProfilingToAdminUsers=0, run the "
    "container with --cap-add=SYS_ADMIN, or use `--tool torch`."
)


class SessionError(GpubenchError):
    """The profiler ran but left no usable trace. The message says which of the known failures it was."""

    exit_status = ExitStatus.CASE_FAILED


@dataclass(frozen=True)
class Ended:
    """How a tool ended. `exit_status` is None if it was ended for taking too long."""

    exit_status: int | None
    seconds: float
    log: Path

    @property
    def timed_out(self) -> bool:
        return self.exit_status is None

    def last_lines(self, count: int = _LOG_LINES) -> str:
        """The log's end, without progress bars."""
        text = read_end(self.log, _TAIL_BYTES)[0] if self.log.exists() else ""
        lines = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip() and "%" not in line]
        return "\n".join(lines[-count:]) or "(nothing)"


def refuse_nested(environ: Mapping[str, str]) -> None:
    """SessionError inside another profiler's session: nsys, ncu and torch.profiler all need CUPTI, which serves only
    one.
    """
    name = next((name for name in INSIDE if environ.get(name)), None)
    if name is not None:
        raise SessionError(
            f"This process already runs under a profiler ({name} is set), and only one can collect at a time.",
            hint="Run `gpubench profile` outside of it. For a whole run in your own session, use "
            "`nsys profile ... gpubench run`.",
        )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that only this user can read."""
    with tempfile.TemporaryDirectory(prefix="gpubench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_tool(
    command: Sequence[str], *, log: Path, environ: Mapping[str, str], timeout_s: float, cwd: Path | None = None
) -> Ended:
    """Runs the tool to its end or the time limit, in a new session, without input, with output to `log`.

    Profilers start agents that leave their parent's process group, so every process of the tool has a mark in its
    environment, and after the time limit the groups of all marked processes are ended. SessionError if the tool cannot
    start.
    """
    mark = secrets.token_hex(8)
    started = time.monotonic()
    with os.fdopen(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as output:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environ, _MARK: mark},
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise SessionError(f"{command[0]} could not be started: {error}.") from error
        status: int | None = None
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if status is None:
                _end_groups(process, mark)
    return Ended(status, time.monotonic() - started, log)


def _end_groups(process: subprocess.Popen[bytes], mark: str) -> None:
    """SIGTERM to every group of the session, SIGKILL to those left after a grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        leaders = [process.pid] if process.poll() is None else []
        for pid in (*leaders, *_marked(mark)):
            with suppress(ProcessLookupError):
                if (group := os.getpgid(pid)) != os.getpgid(0):
                    os.killpg(group, number)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and (process.poll() is None or _marked(mark)):
            time.sleep(0.05)
    process.wait()


def _marked(mark: str) -> list[int]:
    """Running processes with the mark; none on a system without /proc."""
    needle = f"{_MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended, or another user's
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def report_of(ended: Ended, output: Path, *, timeout_s: float) -> Path:
    """The report made by `nsys profile --output=OUTPUT`. SessionError says why there is none."""
    report, unimported = (output.with_name(f"{output.name}{suffix}") for suffix in (NSYS_REPORT, NSYS_UNIMPORTED))
    tail = ended.last_lines()
    if ended.timed_out:
        raise timed_out("nsys", ended, timeout_s)
    if report.is_file() and report.stat().st_size:
        return report
    if unimported.exists():
        raise SessionError(
            "nsys collected, but did not find its importer, so there is no report.",
            hint="Its folder `host-linux-x64` is missing next to `target-linux-x64`. Debian splits them; link them "
            "with: ln -s ../../nsight-systems/host-linux-x64 /usr/lib/x86_64-linux-gnu/nsight-systems/host-linux-x64",
        )
    if _NO_PERMISSION.search(tail):
        raise SessionError(f"nsys was not allowed to profile:\n{tail}", hint=_PERMISSION_HINT)
    with ended.log.open("rb") as lines:
        opened = any(b"Capture range started" in line for line in lines)
    if not opened:
        raise SessionError(
            "The capture never opened: the program ended without starting the range that nsys waited for. The log ends "
            f"with:\n{tail}",
            hint=f"See {ended.log}. If the program ran to its end, this nsys refused its ranges: try a newer nsys, or "
            "`--tool torch`.",
        )
    raise SessionError(
        f"nsys left no report (exit status {ended.exit_status}). Its log ends with:\n{tail}", hint=f"See {ended.log}."
    )


def export(tool: Tool, report: Path, output: Path, *, environ: Mapping[str, str]) -> Path:
    """Exports an nsys report to SQLite at `output`. TraceError if this nsys cannot read it."""
    log = output.with_name(EXPORT_LOG)
    output.unlink(missing_ok=True)
    ended = run_tool(
        export_command(tool, report, output), log=log, environ={**environ, **C_LOCALE}, timeout_s=_EXPORT_TIMEOUT_S
    )
    if ended.timed_out:
        raise timed_out("nsys export", ended, _EXPORT_TIMEOUT_S)
    if output.is_file() and output.stat().st_size:
        log.unlink()
        return output
    raise TraceError(
        f"{tool.path} could not export {report}:\n{ended.last_lines()}",
        hint="A report opens with the version of nsys that made it, or a newer one: name that with --nsys PATH. A "
        "report that was cut off while it was written opens with none.",
    )


def open_trace(path: Path, nsys: str | None = None) -> Trace:
    """The trace in a file of any known kind; an nsys report is first exported, with `nsys` if given.

    TraceError if it cannot be read, ToolAbsentError for a report if there is no nsys.
    """
    check_readable(path)
    if path.suffix in (NSYS_REPORT, NSYS_OLD_REPORT):
        environ, _ = without_secrets(os.environ)
        with scratch_folder() as folder:
            trace = read_trace(export(find_tool("nsys", nsys), path, folder / "profile.sqlite", environ=environ))
    else:
        trace = read_trace(path)
    trace.source = str(path)
    return trace


def check_ncu(ended: Ended, report: Path, *, timeout_s: float) -> Path:
    """The ncu report. SessionError says why there is none."""
    tail = ended.last_lines()
    if ended.timed_out:
        raise timed_out("ncu", ended, timeout_s)
    if _NO_PERMISSION.search(tail):
        raise SessionError(f"ncu was not allowed to read the GPU's counters:\n{tail}", hint=_PERMISSION_HINT)
    if report.is_file() and report.stat().st_size:
        return report
    if "No kernels were profiled" in tail:
        raise SessionError(
            f"ncu saw no kernel inside the range `gpubench@capture`. Its log ends with:\n{tail}",
            hint="The case must run on a CUDA device.",
        )
    raise SessionError(
        f"ncu left no report (exit status {ended.exit_status}). Its log ends with:\n{tail}", hint=f"See {ended.log}."
    )


def timed_out(what: str, ended: Ended, timeout_s: float) -> SessionError:
    """The error for a tool that was ended after `timeout_s` seconds."""
    return SessionError(
        f"{what} took longer than {timeout_s:.0f} s and was ended. Its log ends with:\n{ended.last_lines()}",
        hint="Give it more time with --timeout, or fewer steps.",
    )
