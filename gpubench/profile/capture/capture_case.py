"""`gpubench profile` on a case: decides the tool, builds the command, runs it, and reads what came out."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpubench.core.errors import UsageError
from gpubench.profile.capture import profiler_tools, run_tool, scrub
from gpubench.profile.capture.secrets import secrets_in_sight, without_secrets
from gpubench.profile.errors import SessionError, ToolAbsentError
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.figures.summary_model import Summary
from gpubench.profile.stored_profiles import TABLES_FILE, TRACE_STEM
from gpubench.profile.traces import ncu_csv
from gpubench.profile.traces.read_trace import NCU_REPORT, NSYS_REPORT, NSYS_UNIMPORTED, read_trace
from gpubench.profile.traces.trace import Trace
from gpubench.protocol.profile_job import JOB_FILE, RESULT_FILE, TORCH_TRACE, ProfileJob, ProfileResult
from gpubench.suite.model.case import Case

ToolChoice = Literal["auto", "nsys", "ncu", "torch"]
WORKER = "gpubench.worker.profiling.profiled_steps"
_REPORTS = (*(f"{TRACE_STEM}{suffix}" for suffix in (NSYS_REPORT, NSYS_UNIMPORTED, NCU_REPORT)), TORCH_TRACE)
_CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
_NCU_STEPS = 1
_PRINT_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Plan:
    """What will run. `removed` names the variables that were taken out of the environment, `tool` is None for torch."""

    job: ProfileJob
    command: tuple[str, ...]
    environ: Mapping[str, str]
    removed: tuple[str, ...]
    tool: profiler_tools.Tool | None

    @property
    def folder(self) -> Path:
        return self.job.folder


@dataclass(frozen=True)
class Captured:
    """A capture that worked. `trace` is the file a viewer opens (None: it could not be kept), `notes` what to tell a
    person.
    """

    result: ProfileResult
    trace: Path | None
    summary: Summary
    notes: tuple[str, ...] = ()


def plan(
    job: ProfileJob,
    choice: ToolChoice,
    *,
    nsys: str | None = None,
    ncu: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """Decides the tool and builds its command line; writes nothing.

    `auto` is nsys where it can be used and the case runs on CUDA, else torch.profiler. The environment of the program
    loses what looks like a secret, because reports keep all of it; a variable that the case itself sets stays.
    """
    environ = dict(os.environ if environ is None else environ)
    run_tool.refuse_nested(environ)
    clean, removed = without_secrets(environ)
    clean |= job.case.env
    tool, options = _choose(job.case, choice, nsys=nsys, ncu=ncu, environ=clean)
    name = "torch" if tool is None else tool.name
    steps = _NCU_STEPS if name == "ncu" else job.steps
    job = job.model_copy(update={"tool": name, "steps": steps})
    program = (job.case.python or sys.executable, "-u", "-m", WORKER, str(job.folder / JOB_FILE))
    return Plan(job, tuple(_command(job, tool, options, program)), clean, removed, tool)


def _choose(
    case: Case, choice: ToolChoice, *, nsys: str | None, ncu: str | None, environ: Mapping[str, str]
) -> tuple[profiler_tools.Tool | None, frozenset[str]]:
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


def _command(
    job: ProfileJob, tool: profiler_tools.Tool | None, options: frozenset[str], program: tuple[str, ...]
) -> list[str]:
    if tool is None:
        return list(program)
    output = job.folder / TRACE_STEM
    if tool.name == "ncu":
        return profiler_tools.ncu_command(tool, output, program)
    graphs = job.case.cuda_graph or job.case.compile in _CUDA_GRAPH_MODES
    return profiler_tools.nsys_command(tool, options, output, program, cuda_graphs=graphs)


def run(plan: Plan, *, timeout_s: float, measured_step_time_s: float | None = None) -> Captured:
    """Captures. SessionError if the tool or the case failed; the folder keeps the log, and no report that nobody has
    cleaned.

    Without `measured_step_time_s` the profiled steps are compared with those that the worker ran just before the
    capture.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    for name in (RESULT_FILE, *_REPORTS, TABLES_FILE):
        (plan.folder / name).unlink(missing_ok=True)
    (plan.folder / JOB_FILE).write_text(plan.job.model_dump_json(indent=1))
    try:
        return _capture(plan, timeout_s, measured_step_time_s)
    except BaseException:
        for name in (*_REPORTS, TABLES_FILE):
            (plan.folder / name).unlink(missing_ok=True)
        raise


def _capture(plan: Plan, timeout_s: float, measured_step_time_s: float | None) -> Captured:
    with run_tool.scratch_folder() as scratch:
        # Tools collect into temporary files that hold as much of the environment as their reports do.
        environ = dict(plan.environ) if plan.tool is None else {**plan.environ, "TMPDIR": str(scratch)}
        log = plan.folder / f"{TRACE_STEM}.log"
        ended = run_tool.run_tool(plan.command, log=log, environ=environ, timeout_s=timeout_s)
    result = _result(plan, ended, timeout_s)
    trace = _trace(plan, ended, timeout_s)
    summary = summarize(
        _read(plan, trace),
        measured_step_time_s=measured_step_time_s or result.step_time_before_s,
        expected_steps=plan.job.steps,
        case=plan.job.case.settings,
    )
    kept: Path | None = trace
    notes = _cut_short(summary)
    if plan.tool is not None and plan.tool.name == "nsys":
        kept, notes = _without_secrets(plan, plan.tool, trace)
    return Captured(result, kept, summary.model_copy(update={"source": str(kept or trace)}), notes)


def _without_secrets(plan: Plan, tool: profiler_tools.Tool, report: Path) -> tuple[Path | None, tuple[str, ...]]:
    """What is kept of a report of nsys: itself where it could be cleaned, else the tables exported from it."""
    done = scrub.scrub(tool, report, environ=plan.environ)
    names = ", ".join(done.names)
    if done.clean:
        return report, ((f"Overwritten in the report, which lists every process in sight: {names}.",) if names else ())
    report.unlink()
    exported = plan.folder / TABLES_FILE
    if scrub.mask_whole(exported, secrets_in_sight()):
        exported.unlink()
        return None, ("No trace was kept: it holds secrets of other processes that could not be taken out.",)
    why = f"it holds the values of {names}" if names else "it could not be searched"
    return exported, (f"The report was not kept, as {why}: nsys lists every process in sight. Its tables were.",)


def _result(plan: Plan, ended: run_tool.Ended, timeout_s: float) -> ProfileResult:
    """What the worker says of itself; its failure explains more than the tool's."""
    path = plan.folder / RESULT_FILE
    if path.exists():
        result = ProfileResult.model_validate_json(path.read_bytes())
        if result.status != "ok":
            raise SessionError(
                f"The case could not be profiled ({result.status}): {result.reason}", hint=f"See {ended.log}."
            )
        if result.emitter in ("off", "refused"):
            raise SessionError(
                f"The capture never opened: {plan.job.tool} did not take the ranges of the program (they were {result.emitter}).",
                hint="Try a newer version of it, or `--tool torch`.",
            )
        return result
    if ended.timed_out:
        raise run_tool.timed_out(plan.job.tool, ended, timeout_s)
    if plan.tool is not None and plan.tool.name == "nsys":
        run_tool.report_of(ended, plan.folder / TRACE_STEM, timeout_s=timeout_s)
    raise SessionError(
        f"The worker ended without a result (exit status {ended.exit_status}). Its log ends with:\n{ended.last_lines()}",
        hint=f"See {ended.log}.",
    )


def _trace(plan: Plan, ended: run_tool.Ended, timeout_s: float) -> Path:
    if plan.tool is None:
        return plan.folder / TORCH_TRACE
    if plan.tool.name == "ncu":
        return run_tool.check_ncu(ended, plan.folder / f"{TRACE_STEM}{NCU_REPORT}", timeout_s=timeout_s)
    return run_tool.report_of(ended, plan.folder / TRACE_STEM, timeout_s=timeout_s)


def _read(plan: Plan, trace: Path) -> Trace:
    if plan.tool is None:
        return read_trace(trace)
    if plan.tool.name == "nsys":
        return read_trace(run_tool.export(plan.tool, trace, plan.folder / TABLES_FILE, environ=plan.environ))
    with run_tool.scratch_folder() as folder:
        printed = folder / "kernels.csv"
        run_tool.run_tool(
            profiler_tools.ncu_csv_command(plan.tool, trace),
            log=printed,
            environ=plan.environ,
            timeout_s=_PRINT_TIMEOUT_S,
        )
        return ncu_csv.read(printed)


def _cut_short(summary: Summary) -> tuple[str, ...]:
    kernels = sum(device.kernels for device in summary.devices)
    if summary.tool != "ncu" or kernels < profiler_tools.NCU_LAUNCHES:
        return ()
    return (f"ncu stopped after {kernels} kernels; the step has more, so its last phases may be missing.",)


def tidy(plan: Plan, captured: Captured, *, keep_trace: bool) -> None:
    """Removes what can be made again from the trace; without `keep_trace` the trace as well."""
    kept = captured.trace if keep_trace else None
    for path in (plan.folder / name for name in (JOB_FILE, *_REPORTS, TABLES_FILE)):
        if path != kept:
            path.unlink(missing_ok=True)
