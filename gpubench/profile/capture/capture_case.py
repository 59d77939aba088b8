"""`gpubench profile` on a case: chooses the tool, builds the command, runs it, and reads the result."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from gpubench.core.errors import StoreError, UsageError
from gpubench.core.secrets import given_back, hide_secrets, without_secrets
from gpubench.profile.capture import profiler_tools, run_tool
from gpubench.profile.capture.hide_processes import Hiding, hide_processes
from gpubench.profile.capture.profiler_tools import ToolAbsentError
from gpubench.profile.capture.run_tool import EXPORT_LOG, SessionError
from gpubench.profile.capture.search_report import secrets_in_report
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.figures.summary_model import (
    SUMMARY_FILE,
    TABLES_FILE,
    TRACE_STEM,
    ProfileSummary,
    StartEnvironment,
)
from gpubench.profile.traces import ncu_csv
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import NCU_REPORT, NSYS_REPORT, NSYS_UNIMPORTED
from gpubench.protocol import start_module
from gpubench.protocol.profile_job import (
    JOB_FILE,
    MEMORY_SNAPSHOT,
    PARTIAL_RESULT,
    RESULT_FILE,
    TORCH_TRACE,
    ProfileJob,
    ProfileResult,
)
from gpubench.store.atomic_files import open_own, read_regular, replace_file, store_error, tidy_log
from gpubench.suite.model.case import Case

ToolChoice = Literal["auto", "nsys", "ncu", "torch"]
WORKER = "gpubench.worker.profiling.profiled_steps"
_REPORTS = (*(f"{TRACE_STEM}{suffix}" for suffix in (NSYS_REPORT, NSYS_UNIMPORTED, NCU_REPORT)), TORCH_TRACE)
_LOG = f"{TRACE_STEM}.log"
_OURS = (JOB_FILE, RESULT_FILE, PARTIAL_RESULT, MEMORY_SNAPSHOT, *_REPORTS, TABLES_FILE, EXPORT_LOG, SUMMARY_FILE)
"""The files a capture writes beside its log. Only files with these names are replaced or removed."""
_CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
_NCU_STEPS = 1
_PRINT_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class CapturePlan:
    """What will run. `withheld` are the variables that look like secrets, `passed` the names of those let through;
    `hiding` hides other processes from nsys. `tool` is None for torch.
    """

    job: ProfileJob
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    withheld: Mapping[str, str] = field(repr=False)
    passed: tuple[str, ...]
    hiding: Hiding
    tool: profiler_tools.Tool | None

    @property
    def folder(self) -> Path:
        return self.job.folder

    @property
    def log(self) -> Path:
        return self.folder / _LOG


@dataclass(frozen=True)
class Captured:
    """A successful capture. `trace` is the file to open in a viewer (None: not kept), `note` a remark for the
    screen.
    """

    result: ProfileResult
    trace: Path | None
    summary: ProfileSummary
    note: str = ""


def plan(
    job: ProfileJob,
    choice: ToolChoice,
    *,
    nsys: str | None = None,
    ncu: str | None = None,
    environ: Mapping[str, str] | None = None,
    pass_env: Collection[str] = (),
    worker: str = WORKER,
) -> CapturePlan:
    """Chooses the tool and builds its command line; writes nothing.

    `auto` is nsys if it can be used and the case runs on CUDA, else torch.profiler. Profiler and program start without
    variables that look like secrets, because reports keep the whole environment; those in `pass_env` and those that the
    case sets stay. `worker` is the module that runs the job. UsageError if a name in `pass_env` is not set.
    """
    if job.case.world_size > 1:
        raise UsageError(
            "A case of several ranks cannot be profiled yet.", hint="Profile one process: -s world_size=1."
        )
    environ = dict(os.environ if environ is None else environ)
    run_tool.refuse_nested(environ)
    for name in pass_env:
        if name not in environ and name not in job.case.env:
            raise UsageError(f"--pass-env {name}: there is no such variable in the environment.")
    clean, withheld = without_secrets(environ, pass_env)
    clean |= given_back(job.case.env, environ)
    clean |= start_module.environment(job.case.python, clean)
    tool, options = _choose(job.case, choice, nsys=nsys, ncu=ncu, environ=clean)
    if tool is not None and "LC_ALL" not in job.case.env:
        clean |= profiler_tools.C_LOCALE
    steps = _NCU_STEPS if tool is not None and tool.name == "ncu" else job.steps
    job = job.model_copy(update={"tool": "torch" if tool is None else tool.name, "steps": steps})
    command = start_module.command(worker, str(job.folder / JOB_FILE), python=job.case.python)
    output, hiding = job.folder / TRACE_STEM, Hiding()
    if tool is not None and tool.name == "ncu":
        command = profiler_tools.ncu_command(tool, output, command)
    elif tool is not None:
        hiding = hide_processes(clean)
        graphs = job.case.cuda_graph or job.case.compile in _CUDA_GRAPH_MODES
        command = profiler_tools.nsys_command(tool, options, output, command, cuda_graphs=graphs)
    passed = tuple(sorted(set(pass_env)))
    return CapturePlan(job, (*hiding.prefix, *command), clean, withheld, passed, hiding, tool)


def _choose(
    case: Case, choice: ToolChoice, *, nsys: str | None, ncu: str | None, environ: Mapping[str, str]
) -> tuple[profiler_tools.Tool | None, frozenset[str]]:
    """The tool (None: torch.profiler), and the options this nsys supports."""
    if choice == "torch" or (choice == "auto" and case.device_type != "cuda"):
        return None, frozenset()
    if choice == "ncu":
        if case.device_type != "cuda":
            raise UsageError(
                "ncu reads counters of CUDA kernels, and this case runs on the CPU.", hint="Use `--tool torch`."
            )
        return profiler_tools.find_tool("ncu", ncu, environ=environ), frozenset()
    try:
        tool = profiler_tools.find_tool("nsys", nsys, environ=environ)
        return tool, profiler_tools.probe_nsys(tool, environ)
    except ToolAbsentError:
        if choice == "auto" and nsys is None:
            return None, frozenset()
        raise


def run(
    plan: CapturePlan, *, timeout_s: float, measured_step_time_s: float | None = None, force: bool = False
) -> Captured:
    """Captures. SessionError if the tool or the case failed; the folder then keeps the log but no report, which might
    hold secrets. UsageError if the folder holds files that no capture wrote, unless `force`.

    Without `measured_step_time_s` the profiled steps are compared with those that the worker ran just before the
    capture.
    """
    _make_room(plan.folder, force=force)
    try:
        # The case's own variables may be secrets.
        replace_file(plan.folder / JOB_FILE, plan.job.model_dump_json(indent=1).encode(), mode=0o600)
        return _capture(plan, timeout_s, measured_step_time_s)
    except BaseException:
        _remove(plan.folder, (*_REPORTS, TABLES_FILE))
        raise
    finally:
        _remove(plan.folder, (JOB_FILE, RESULT_FILE))
        with suppress(OSError, StoreError):
            tidy_log(plan.folder / _LOG)


def _make_room(folder: Path, *, force: bool) -> None:
    """Removes an earlier capture from the folder. UsageError if it holds anything else, unless `force`.

    Files with our names are ours only if the log is there, because it is written first.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {entry.name for entry in os.scandir(folder)}
    except OSError as error:
        raise store_error("make", folder, error) from error
    others = sorted(there.difference((_LOG, *_OURS) if _LOG in there else ()))
    if others and not force:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UsageError(
            f"{folder} contains other files: {others[0]}{more}",
            hint="Choose another folder with --out DIR; --force replaces what a profile writes there, nothing else.",
        )
    _remove(folder, (_LOG, *_OURS))
    os.close(open_own(folder / _LOG, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def _remove(folder: Path, names: Collection[str]) -> None:
    """Removes our files; a link is removed, not its target."""
    for path in (folder / name for name in names):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error("remove", path, error) from error


def _capture(plan: CapturePlan, timeout_s: float, measured_step_time_s: float | None) -> Captured:
    with run_tool.scratch_folder() as scratch:
        # The tools' temporary files hold as much of the environment as their reports.
        environ = dict(plan.environ) if plan.tool is None else {**plan.environ, "TMPDIR": str(scratch)}
        log = plan.log
        ended = run_tool.run_tool(plan.command, log=log, environ=environ, timeout_s=timeout_s)
    result = result_of(plan, ended, timeout_s)
    output = plan.folder / TRACE_STEM
    if plan.tool is None:
        path = plan.folder / TORCH_TRACE
        trace = read_trace(path)
    elif plan.tool.name == "nsys":
        path = run_tool.report_of(ended, output, timeout_s=timeout_s)
        trace = read_trace(run_tool.export(plan.tool, path, plan.folder / TABLES_FILE, environ=plan.environ))
    else:
        path = run_tool.check_ncu(ended, output.with_suffix(NCU_REPORT), timeout_s=timeout_s)
        with run_tool.scratch_folder() as scratch:
            printed = scratch / "kernels.csv"
            command = profiler_tools.ncu_csv_command(plan.tool, path)
            environ = {**plan.environ, **profiler_tools.C_LOCALE}
            run_tool.run_tool(command, log=printed, environ=environ, timeout_s=_PRINT_TIMEOUT_S)
            trace = ncu_csv.read(printed)
    trace.source = str(path)
    summary = summarize(
        trace,
        measured_step_time_s=measured_step_time_s or result.step_time_before_s,
        expected_steps=plan.job.steps,
        case=hide_secrets(plan.job.case.settings),
    )
    kept: Path | None = path
    note = ""
    kernels = sum(device.kernels for device in summary.devices)
    if plan.tool is not None and plan.tool.name == "nsys":
        kept, note = _kept_report(plan, plan.tool, path)
    elif summary.tool == "ncu" and kernels >= profiler_tools.NCU_LAUNCHES:
        note = f"ncu stopped after {kernels} kernels; the step has more, so its last phases may be missing."
    started_with = StartEnvironment(withheld=tuple(plan.withheld), passed=plan.passed, others_hidden_by=plan.hiding.way)
    return Captured(result, kept, summary.model_copy(update={"environment": started_with}), note)


def _kept_report(plan: CapturePlan, tool: profiler_tools.Tool, report: Path) -> tuple[Path | None, str]:
    """The report if it holds no secret (else it and its tables, which list environments too, are removed), and a
    note.
    """
    passed = {plan.environ[name] for name in plan.passed}
    sought = {**plan.withheld, **without_secrets(plan.job.case.env, plan.passed)[1]}
    found = secrets_in_report(tool, report, sought, environ=plan.environ, passed=passed)
    if found == ():
        seen = (
            "nsys could see other processes here, and its report lists their environment. Nothing in it looks like a "
            "secret; look at it before you share it."
        )
        return report, "" if plan.hiding.way else seen
    _remove(plan.folder, (report.name, TABLES_FILE))
    why = f"it holds the values of {', '.join(found)}" if found else "it could not be searched for secrets"
    return None, (
        f"The report was not kept, as {why}: nsys lists the processes it can see. Profile with `--tool torch` for a "
        "trace to keep, or name variables that are not secret with --pass-env."
    )


def result_of(plan: CapturePlan, ended: run_tool.Ended, timeout_s: float) -> ProfileResult:
    """The worker's result; its failure explains more than the tool's."""
    path = plan.folder / RESULT_FILE
    if path.exists():
        try:
            result = ProfileResult.model_validate_json(read_regular(path))
        except ValidationError as error:
            raise SessionError(f"The worker left a result that cannot be read: {error.errors()[0]['msg']}") from error
        if result.status != "ok":
            raise SessionError(
                f"The case could not be profiled ({result.status}): {result.reason}", hint=f"See {ended.log}."
            )
        if result.emitter in ("off", "refused"):
            raise SessionError(
                f"The capture never opened: {plan.job.tool} did not take the ranges of the program (they were "
                f"{result.emitter}).",
                hint="Try a newer version of it, or `--tool torch`.",
            )
        return result
    if ended.timed_out:
        raise run_tool.timed_out(plan.job.tool, ended, timeout_s)
    if plan.tool is not None and plan.tool.name == "nsys":
        run_tool.report_of(ended, plan.folder / TRACE_STEM, timeout_s=timeout_s)
    raise SessionError(
        f"The worker ended without a result (exit status {ended.exit_status}). Its log ends "
        f"with:\n{ended.last_lines()}",
        hint=f"See {ended.log}.",
    )


def tidy(plan: CapturePlan, captured: Captured, *, keep_trace: bool) -> None:
    """Removes files that can be made again from the trace, and without `keep_trace` the trace as well."""
    kept = captured.trace if keep_trace else None
    _remove(plan.folder, [name for name in (*_REPORTS, TABLES_FILE) if plan.folder / name != kept])
