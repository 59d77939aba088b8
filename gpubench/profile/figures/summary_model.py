"""A profile as stored in a run's `cases/<number>/profile/profile.json` and printed by `profile read --json`.

Times of device and host are in nanoseconds (`_ns`); shares are fractions. What a trace does not show is None, with the
reason in `absent` under the same name. Schema: `schemas/profile-1.json`.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from gpubench.core.findings import Finding
from gpubench.core.stored_model import Frozen
from gpubench.profile.traces.trace import NSYS_REPORT
from gpubench.protocol.profile_job import TORCH_TRACE

PROFILE_SCHEMA = 1
SUMMARY_FILE = "profile.json"
TRACE_STEM = "profile"
TABLES_FILE = f"{TRACE_STEM}.sqlite"
_TRACES = (f"{TRACE_STEM}{NSYS_REPORT}", TABLES_FILE, TORCH_TRACE)

Bound = Literal["gpu", "copy", "launch", "input", "dependency"]


class PhaseSummary(Frozen):
    """One phase of a step, as means over the steps. `cpu_ns` is None if the tool stretches host time. `gpu_share` is
    the phase's share of the summed GPU time of all work in the window.

    `gpu_busy_ns` is the union of the phase's work over streams; `gpu_span_ns` runs from its first to its last work in a
    step, including waits, averaged over steps that have any.
    """

    name: str
    cpu_ns: float | None
    gpu_busy_ns: float
    gpu_span_ns: float | None
    gpu_share: float | None
    kernels_per_step: float


class HostPhase(Frozen):
    """Host time of a phase: mean over the steps, and its share of the step on the host."""

    name: str
    cpu_ns: float
    share: float


class KernelSummary(Frozen):
    """All launches of one kernel in the window. `total_ns` is summed over streams; `share` is the share of all kernels'
    total.
    """

    name: str
    kernel_class: str = Field(alias="class")
    tensor_core: Literal["yes", "no", "unknown"]
    count: int
    per_step: float | None
    total_ns: int
    share: float


class ClassSummary(Frozen):
    """All kernels of one class, see `gpubench.profile.figures.kernel_names`."""

    kernel_class: str = Field(alias="class")
    count: int
    total_ns: int
    share: float


class CopySummary(Frozen):
    """Copies in one direction. `gb_per_s` is 1e9 bytes per second of copying; `overlap` the share of copying time in
    which a kernel ran on the same device. `bytes` and figures from it are None if any copy's size is unknown,
    `pageable_bytes` also if any copy's memory is; `pageable_ns` is the time of copies known to be pageable.
    """

    count: int
    bytes: int | None
    bytes_per_step: float | None
    busy_ns: int
    gb_per_s: float | None
    overlap: float | None
    pageable_bytes: int | None
    pageable_ns: int = 0


class IdleReasons(Frozen):
    """Why the device was idle, as shares of the window that add up to `idle`.

    `launch`: the host was late: the work that ended the gap was launched after the gap began. `input`: the same, while
    the host fetched or transferred input. `dependency`: the work was launched in time but waited for something else
    (another stream, an event, the few microseconds between dependent kernels). `unknown`: the trace lacks the launch or
    work that would show the reason.
    """

    launch: float
    input: float
    dependency: float
    unknown: float = 0.0


class DeviceSummary(Frozen):
    """One device. `owner` is the rank, process or machine that numbers it `device`, if the trace has several; `device`
    is None if the trace numbers no device.

    `idle` is 1 - `busy_ns` / `window_ns`, where `busy_ns` is the union of kernels, copies, memsets and graphs of all
    processes; `others_ns` is the part in which only processes other than that of the steps had work. All other figures
    leave that work out. `unlinked_share` is the share of GPU time whose launches are not in the trace.

    For a tool that runs kernels one by one (ncu), `idle` and `largest_gap_ns` are None, and `window_ns` equals
    `busy_ns`.
    """

    device: int | None
    owner: str | None = None
    name: str | None
    window_ns: int
    busy_ns: int
    others_ns: int = 0
    idle: float | None
    idle_reasons: IdleReasons | None
    bound: Bound | None
    bound_statement: str
    largest_gap_ns: int | None
    streams: int | None
    steps: int | None
    kernels: int
    kernels_per_step: float | None
    kernel_ns: int
    tensor_core_share: float | None
    tensor_core_unknown_share: float | None
    tensor_core_source: str = "kernel names"
    copies: dict[str, CopySummary]
    memsets: int
    graphs: int
    phases: tuple[PhaseSummary, ...]
    unattributed_ns: int | None
    unattributed_share: float | None
    unlinked_share: float = 0.0
    classes: tuple[ClassSummary, ...]
    top_kernels: tuple[KernelSummary, ...]
    num_kernel_names: int
    absent: dict[str, str] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """`GPU 0`, or `GPU 0 of rank 1`."""
        number = "" if self.device is None else f" {self.device}"
        return f"GPU{number}" + (f" of {self.owner}" if self.owner else "")


class Perturbation(Frozen):
    """Profiled against measured step time, in seconds. Profiled times never enter a baseline or a verdict."""

    profiled_step_time_s: float
    measured_step_time_s: float
    ratio: float


class StartEnvironment(Frozen):
    """The environment of the profiled program. `withheld` names variables that look like secrets, `passed` those let
    through by `--pass-env`. `others_hidden_by` says how other processes were hidden from the tool.
    """

    withheld: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    others_hidden_by: Literal["namespace", "landlock"] | None = None


class ProfileSummary(Frozen):
    """One trace. `window` says what the figures cover: the `steps`, or the whole `trace` if it marks none.

    `process` is the id of the process with these steps, as it saw itself. `environment` is None for a trace that
    `gpubench profile` did not capture. `unread` counts the rows left out, by reason.
    """

    schema_number: int = Field(default=PROFILE_SCHEMA, alias="schema")
    tool: Literal["nsys", "ncu", "torch"]
    tool_version: str | None = None
    source: str
    window: Literal["steps", "trace"]
    process: int | None = None
    steps: int | None
    step_time_ns: float | None
    host_phases: tuple[HostPhase, ...] = ()
    devices: tuple[DeviceSummary, ...]
    perturbation: Perturbation | None = None
    warnings: tuple[Finding, ...] = ()
    unread: dict[str, int] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    case: dict[str, Any] | None = None
    environment: StartEnvironment | None = None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a stored summary."""
    schema = ProfileSummary.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "gpubench profile"}


def profile_folder(run: Path, index: int) -> Path:
    """The folder of the profile of a run's case."""
    return run / "cases" / str(index) / "profile"


def stored_profile(run: Path, index: int) -> ProfileSummary | None:
    """The profile of a case; None if there is none or it cannot be read, so that a report works without it."""
    try:
        return ProfileSummary.model_validate_json((profile_folder(run, index) / SUMMARY_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def stored_trace(run: Path, index: int) -> Path | None:
    """The kept trace of a case; None if none was kept."""
    found = (profile_folder(run, index) / name for name in _TRACES)
    return next((path for path in found if path.is_file()), None)


def stored_profiles(run: Path) -> dict[int, ProfileSummary]:
    """All profiles of a run that can be read, by the number of their case."""
    numbers = sorted(
        int(path.parts[-3]) for path in run.glob(f"cases/*/profile/{SUMMARY_FILE}") if path.parts[-3].isdigit()
    )
    found = {number: stored_profile(run, number) for number in numbers}
    return {number: profile for number, profile in found.items() if profile is not None}
