"""What a run leaves behind: the types every layer may use.

Units are SI and part of every name. A quantity that could not be measured is None, never 0, and `absent` has the reason
under the same name.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from gpubench.core.findings import Finding
from gpubench.core.stored_model import STORED, Frozen

RECORD_SCHEMA = 2
CONTEST_SCHEMA = 1

Label = Annotated[str, Field(max_length=4096)]
Figure = Annotated[float, Field(ge=-1e30, le=1e30)]
Positive = Annotated[float, Field(ge=1e-30, le=1e30)]
Count = Annotated[int, Field(ge=0, le=2**53)]
"""The range of numbers that a measurement can give; a stored number outside it is damaged."""


class Status(StrEnum):
    """How a case ended. Each but `ok` carries its reason in the record."""

    OK = "ok"
    OOM = "oom"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"


CRASHED = frozenset({Status.FAILED, Status.TIMEOUT})
"""Ends without a figure or a result: exit status 3."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval. `low` and `high` are None where n does not allow one (a single launch).

    Not a model: a run of ten thousand cases has a hundred thousand, and models take four times the memory.
    """

    __pydantic_config__ = STORED

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    n_effective: float | None = None
    unit: str = ""

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def rel_half_width(self) -> float | None:
        half = self.half_width
        return None if half is None or self.value == 0 else half / abs(self.value)


class Effective(Frozen):
    """Settings read back in the worker after they took effect, before and after the measured steps.

    `math` holds torch's fp32_precision per operation and backend, for example `{"cuda.matmul": "ieee", "cudnn.conv":
    "tf32"}`; `compute_dtype` the dtype that convolutions and matrix products really produced in the forward pass,
    `output_dtype` that of the model's output.
    """

    precision: str
    math: dict[str, str] = Field(default_factory=dict)
    autocast_dtype: str | None = None
    grad_scaler: bool = False
    compute_dtype: str | None = None
    output_dtype: str | None = None
    parameter_dtype: str | None = None
    memory_format: str | None = None
    cudnn_enabled: bool | None = None
    cudnn_benchmark: bool | None = None
    cudnn_deterministic: bool | None = None
    compile: str = "off"
    cuda_graph: bool = False
    data_path: str | None = None
    num_workers: int = 0
    optimizer: str | None = None
    fused: bool | None = None
    cpu_threads: int | None = None
    interop_threads: int | None = None
    training: bool | None = None
    inference_mode: bool | None = None
    seed: int | None = None
    batch_size: int | None = None
    device: str | None = None
    device_name: str | None = None
    device_uuid: str | None = None
    versions: dict[str, str | None] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)

    def read(self, name: str) -> Any:
        """What was read back under this name, of the fields or of `extra`; None if nothing was."""
        return getattr(self, name) if name in Effective.model_fields else self.extra.get(name)


class Window(Frozen):
    """Edges of the measured steps on CLOCK_MONOTONIC (`time.monotonic()`), shared by all processes of a machine."""

    start_s: Figure
    end_s: Figure
    num_steps: Count
    num_samples: Count

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class Failure(Frozen):
    """Why a launch has no figures. For an OOM, the sizes in bytes are those the allocator named."""

    phase: str
    error: str
    message: str
    requested_bytes: int | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    log: str | None = None


class Parity(Frozen):
    """Relative L2 errors on one fixed batch against fp64 on the CPU, with the limits of the precision.

    `loss_rel_error` is None for a model that has no loss in inference.
    """

    passed: bool
    logits_rel_error: float
    loss_rel_error: float | None
    gradient_rel_error: float | None = None
    logits_limit: float
    loss_limit: float
    reference: str = "fp64 cpu"
    num_samples: int = 0


class Quality(Frozen):
    """One training run on real data, judged on its test split.

    `score_name` is the metric that tells how good the task calls the model (accuracy, bleu, wer, ...), `score` its
    value as a share of 1, `scores` the others of the task but accuracy, precision and recall, and `baselines` what
    something trivial scores. `data_digest`: scores compare only where it is equal. `trainings_in_window`: a run too
    short for a valid energy figure is repeated; the window covers this many.
    """

    seed: int
    epochs: int
    learning_rate: float
    learning_rates_tried: dict[str, float] = Field(default_factory=dict)
    loss_per_epoch: tuple[float, ...] = ()
    validation_score_per_epoch: tuple[float, ...] = ()
    score_name: str
    score: float
    score_better: Literal["higher", "lower"]
    accuracy: float | None = None
    precision_macro: float | None = None
    recall_macro: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    baselines: dict[str, float] = Field(default_factory=dict)
    final_loss: float
    target_accuracy: float | None = None
    time_to_accuracy_s: float | None = None
    steps_to_accuracy: int | None = None
    training_time_s: float
    num_train: int
    num_validation: int
    num_test: int
    data_digest: str | None = None
    skipped_steps: int = 0
    trainings_in_window: int = Field(1, ge=1)

    @property
    def all_scores(self) -> dict[str, float]:
        """Every score of the test split by its metric, the task's first."""
        named = {name: getattr(self, name) for name in ("accuracy", "precision_macro", "recall_macro")}
        known = {name: value for name, value in named.items() if value is not None}
        return {self.score_name: self.score, **known, **self.scores}


class Series(Frozen):
    """How a launch's step times became its figures. Times in seconds; counts are of timed groups of `group` steps."""

    clock: Literal["perf_counter", "cuda_event"]
    timing: Literal["throughput", "latency"]
    group: Count = 1
    num_total: Count
    num_warmup: Count
    num_steady: Count
    tau: Figure
    n_effective: Figure
    median_s: Positive
    low_s: Positive | None = None
    high_s: Positive | None = None
    rel_spread: Figure | None = None
    drift: Figure | None = None
    steady: bool = True
    converged: bool = True
    bound: Literal["gpu", "launch", "input", "cpu"] | None = None


class RankRecord(Frozen):
    """One process of a launch with several. Times in seconds, medians over steps.

    `own_time_s`: from the start of a step until the rank's last gradients are ready, which no other rank can delay,
    with its quartiles; `exposed_communication_s`: from there until they are summed over all ranks;
    `communication_share`: of a step, the part in which gradients are exchanged. `node` and `host`: the machine, of
    several; `telemetry` of the rank's device in the measured window, by metric.
    """

    rank: Count
    node: Count | None = None
    host: str | None = None
    pid: int | None = None
    device: str | None = None
    device_name: str | None = None
    device_uuid: str | None = None
    step_time_s: Figure | None = None
    own_time_s: Figure | None = None
    own_time_low_s: Figure | None = None
    own_time_high_s: Figure | None = None
    exposed_communication_s: Figure | None = None
    communication_share: Figure | None = None
    peak_memory_bytes: Figure | None = None
    telemetry: dict[str, Figure] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)


class Record(Frozen):
    """One launch of one case: what was asked for, what took effect, and the result. One line of `records.jsonl`.

    `block_log_ratio`, of a launch with two arms in alternating blocks, is in the record of the second arm: the
    median over pairs of blocks of log(its step time / the first arm's). `workload_digest`: of all files that the
    workload was loaded from and that are not installed; None for a built-in one. `ranks`, of a launch with several
    processes or of a fleet: each process or card. A `retest` is a launch of a fleet's suspects, with a healthy card.
    """

    schema_number: int = Field(default=RECORD_SCHEMA, alias="schema")
    kind: Literal["measure", "quality", "retest"] = "measure"
    case_index: int
    case_id: str
    label: Label
    arm: str | None = None
    repeat: int
    status: Status
    reason: str | None = None
    started_unix_s: Figure | None = None
    wall_s: Figure | None = None
    isolation: Literal["fork", "fresh"] | None = None
    host_pid: int | None = None
    pid: int | None = None
    effective: Effective | None = None
    window: Window | None = None
    series: Series | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    parity: Parity | None = None
    quality: Quality | None = None
    telemetry: dict[str, Any] | None = None
    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()
    samples: str | None = None
    block_log_ratio: Figure | None = None
    workload_digest: str | None = None
    ranks: tuple[RankRecord, ...] = ()


class ContestRecord(Frozen):
    """One process of a contest: cases that took turns in short blocks. One line of `contests.jsonl`.

    Cases go by their index in the plan. A contest too large for one process has several parts a round, each with the
    contest's first case. `log_speeds`: log of samples (latency: of requests) per second at the level of this process,
    so that only differences mean something; empty unless ok. `twin`: that of the first case's second replica, None
    where there was no room. `threads_asked`: fewer than torch's own, because others used the CPU.
    """

    schema_number: int = Field(default=CONTEST_SCHEMA, alias="schema")
    cases: tuple[int, ...] = Field(min_length=1)
    label: Label
    round: int = Field(ge=1)
    part: int = Field(1, ge=1)
    status: Status
    reason: str | None = None
    started_unix_s: Figure | None = None
    wall_s: Figure | None = None
    host_pid: int | None = None
    pid: int | None = None
    num_turns: Count | None = None
    threads: Count | None = None
    threads_asked: Count | None = None
    waits_left_out: bool = False
    log_speeds: dict[int, Figure] = Field(default_factory=dict)
    twin: Figure | None = None
    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()
    samples: str | None = None


def latest_contests(records: Iterable[ContestRecord]) -> list[ContestRecord]:
    """The last record per process; a resumed run may contain duplicates."""
    return list({(record.cases[0], record.round, record.part): record for record in records}.values())


def latest(records: Iterable[Record]) -> list[Record]:
    """The last record per launch; a resumed run may contain duplicates."""
    return list({(record.case_index, record.arm, record.repeat): record for record in records}.values())
