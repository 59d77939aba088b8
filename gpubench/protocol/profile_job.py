"""What `gpubench profile` asks of a worker, and its answer: two JSON files in the profile's folder."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gpubench.core.findings import Finding
from gpubench.core.records import Effective
from gpubench.core.stored_model import Frozen
from gpubench.protocol.messages import JobArm
from gpubench.suite.model.case import Case

JOB_FILE = "job.json"
RESULT_FILE = "worker.json"
PARTIAL_RESULT = "worker.partial"
TORCH_TRACE = "trace.json.gz"
MEMORY_SNAPSHOT = "memory.pickle"

DOMAIN = "gpubench"
"""The NVTX domain of the worker's ranges."""
CAPTURE = "capture"
"""Name of the start/end range that opens and closes a capture."""
PHASES = ("data", "h2d", "forward", "loss", "backward", "optimizer")
"""The phases of a step, in order."""


class ProfiledWindow(Frozen):
    """A few steps of one arm in file `trace`. `step_time_s` is the mean of as many without a profiler just before,
    `profiled_s` of those in the trace, both without waits for a CPU that other programs had; `waits_s` are those waits
    of each step in the trace (empty: not known). `shapes`: the trace has what operators were given, and no valid times.
    """

    arm: str
    trace: str
    steps: int
    step_time_s: float
    profiled_s: float
    waits_s: tuple[float, ...] = ()
    shapes: bool = False


class ProfileJob(Frozen):
    """Build the case, warm it up, then run `steps` steady steps with `tool` listening.

    The worker writes to `folder`; relative paths in the case start at `working_folder`. Warm-up runs at least
    `warmup_steps` steps and `warmup_s` seconds, so that compiling, autotuning and the allocator are done.

    With `arms` they are built in one process and profiled in turn, `windows` times each within about `max_s` seconds
    (at least `least_windows` times), in random order from `seed`; `steps` are then at most those of a window.
    """

    tool: Literal["nsys", "ncu", "torch"]
    case: Case
    suite: str = ""
    label: str = ""
    steps: int = Field(10, ge=1, le=100_000)
    warmup_steps: int = Field(10, ge=0)
    warmup_s: float = Field(1.0, ge=0)
    folder: Path
    working_folder: Path | None = None
    search_path: tuple[str, ...] = ()
    download: bool = False
    memory: bool = False
    arms: tuple[JobArm, ...] = ()
    windows: int = Field(1, ge=1)
    least_windows: int = Field(1, ge=1)
    max_s: float = Field(60.0, gt=0)
    seed: int = 0


class ProfileResult(Frozen):
    """How it went. `step_time_before_s` is the mean step time of as many steady steps just before the capture, with no
    profiler collecting; `step_time_s` that of the captured ones. Both on `time.perf_counter`, device work included.
    """

    status: Literal["ok", "oom", "failed", "unsupported"]
    reason: str | None = None
    steps: int = 0
    num_warmup: int = 0
    step_time_before_s: float | None = None
    step_time_s: float | None = None
    emitter: str | None = None
    effective: Effective | None = None
    findings: tuple[Finding, ...] = ()
    trace: str | None = None
    memory: str | None = None
    windows: tuple[ProfiledWindow, ...] = ()
