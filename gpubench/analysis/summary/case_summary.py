"""A case: from the launches of a run, from a baseline, or from another tool's file."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from gpubench.analysis.summary.case_figures import CaseFigures, is_figure, launch_value
from gpubench.analysis.summary.contest_levels import ContestLevels
from gpubench.core.findings import Finding, Validity
from gpubench.core.records import CRASHED, Effective, Record, Status
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import SPECS, Case

Correctness = Literal["pass", "fail", "unverified"]

_MOST_LOG = 100.0
_GPU_ENERGY = frozenset({"energy_j", "energy_per_sample_j", "samples_per_j", "energy_above_idle_j", "mean_power_w"})


@dataclass(frozen=True)
class CaseSummary:
    """One case, from all its launches.

    `status` is `ok` if any launch was, with the other launches' statuses in `reason`; else the worst launch's.
    `records` has the last record per repeat, in order. `metrics` comes from the ok launches; `absent` has the reason
    for those that no launch could measure. `effective` is the first ok launch's. `contest`: where it took turns with
    others; `contest_speed`: samples (latency: requests) per second there, scaled to the level of the cases' launches,
    so that ratios of it are those of the contest.
    """

    planned: PlannedCase
    status: Status
    reason: str | None
    records: tuple[Record, ...]
    metrics: CaseFigures
    findings: tuple[Finding, ...]
    validity: Validity
    correctness: Correctness
    effective: Effective | None
    contest: ContestLevels | None = field(default=None, repr=False)
    contest_speed: float | None = None

    @property
    def absent(self) -> Mapping[str, str]:
        return self.metrics.absent

    @cached_property
    def case(self) -> Case:
        return self.planned.case

    @property
    def case_id(self) -> str:
        return self.planned.case_id

    @property
    def kind(self) -> str:
        return self.planned.kind

    @property
    def label(self) -> str:
        return self.planned.label

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.planned.settings

    @property
    def speed_metric(self) -> str:
        """`throughput`, or `latency_s` for synchronised requests, which are never ranked with it."""
        return "latency_s" if self.case.timing == "latency" else "throughput"

    @cached_property
    def speed(self) -> float | None:
        """Samples per second, or requests per second for latency timing; None without a figure."""
        found = self.metrics.get(self.speed_metric)
        if found is None or found.value <= 0:
            return None
        return 1 / found.value if self.case.timing == "latency" else found.value

    @cached_property
    def log_speeds(self) -> Mapping[int, float]:
        """Log of samples or requests per second of each ok launch, by repeat."""
        sign = -1 if self.case.timing == "latency" else 1
        return {r: sign * math.log(value) for r, value in self.launch_values(self.speed_metric).items() if value > 0}

    @property
    def usable(self) -> bool:
        """Whether its figures may be used: ok and not INVALID."""
        return self.status is Status.OK and self.validity is not Validity.INVALID

    @property
    def rank_speed(self) -> float | None:
        """The speed for ranking: from the contest if the case took turns, else `speed`."""
        return self.contest_speed or self.speed

    @cached_property
    def comparable(self) -> bool:
        """Whether its ratios to others are as good as a VALID case's. A case that took turns is, even if the timing of
        its launches was weakened, because ratios of the contest do not use that.
        """
        weak = [entry for entry in self.findings if entry.effect != "none"]
        timing = all(entry.code.startswith("GB2") or entry.code == "GB407" for entry in weak)
        return self.validity is Validity.VALID or (self.usable and self.contest is not None and timing)

    @property
    def may_win(self) -> bool:
        """Whether it may be called best, or worth switching to: `comparable`, and its output passed the check."""
        return self.comparable and self.correctness == "pass"

    @cached_property
    def ok_records(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status is Status.OK)

    @property
    def has_no_launch(self) -> bool:
        """Whether it could run here but has no record: the run was cut short, or its records were lost."""
        return not self.records and self.planned.skip_status is None and self.planned.skip_reason is None

    @property
    def crashed_records(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status in CRASHED)

    @property
    def num_crashed(self) -> int:
        return len(self.crashed_records)

    def launch_values(self, metric: str) -> dict[int, float]:
        """The metric's finite values of ok launches, by repeat, without invalid energy."""
        found = {}
        for record in self.ok_records:
            value = launch_value(record, metric)
            valid = metric not in _GPU_ENERGY or (record.telemetry or {}).get("energy_valid") is not False
            if valid and value is not None and is_figure(metric, value):
                found[record.repeat] = value
        return found

    def block_ratios(self) -> dict[int, float]:
        """Log ratios of launches with both arms in alternating blocks, by repeat."""
        found = {record.repeat: record.block_log_ratio for record in self.ok_records}
        return {repeat: value for repeat, value in found.items() if value is not None and abs(value) <= _MOST_LOG}

    def took_effect(self) -> Mapping[str, Any]:
        return flat_effective(self.effective)


@dataclass(frozen=True)
class CaseEntry:
    """A case without records. `values` are its launches' by metric and repeat, in the registry's SI units.

    `intervals`: by metric, for a single launch, from its own steps. `limits`: the largest allowed relative regression
    by metric, if the source declares one for this case. `effective`: the settings read back, flat; empty if unknown.
    """

    case_id: str
    label: str
    settings: Mapping[str, Any]
    values: Mapping[str, Mapping[int, float]]
    kind: str = "measure"
    status: Status = Status.OK
    reason: str | None = None
    validity: Validity = Validity.VALID
    correctness: Correctness = "unverified"
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_crashed(self) -> int:
        return int(self.status in CRASHED)

    def launch_values(self, metric: str) -> dict[int, float]:
        return dict(self.values.get(metric, {}))

    def took_effect(self) -> Mapping[str, Any]:
        return self.effective


ComparableCase = CaseSummary | CaseEntry
Keeps = Callable[[ComparableCase], bool]
"""Whether a case is selected."""


_COMPARED = (
    *(name for name, spec in SPECS.items() if spec.read_back is not None and spec.if_differs != "ignored"),
    *("autocast_dtype", "compute_dtype", "training", "inference_mode", "grad_scaler", "interop_threads"),
)
"""Settings that are read back, and those derived from them."""


def flat_effective(effective: Effective | None) -> dict[str, Any]:
    """The settings that decide whether two sides did the same work, flat; math per operation (`math.cudnn.conv`)."""
    if effective is None:
        return {}
    fields = {name: effective.read(name) for name in _COMPARED}
    mathematics = {f"math.{name}": value for name, value in effective.math.items()}
    taken = effective.extra.get("nvtx")  # whether a profiler collected the ranges, which then cost time
    emitter = {"nvtx": None if taken is None else str(taken)}
    return {name: value for name, value in (fields | mathematics | emitter).items() if value is not None}
