"""One case over its launches."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.summary.comparable_case import Correctness, flat_effective
from gpubench.core.findings import Finding, Validity
from gpubench.core.records import CRASHED, Effective, Estimate, Record, Status
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import Case

_GPU_ENERGY = frozenset({"energy_j", "energy_per_sample_j", "samples_per_j", "energy_above_idle_j", "mean_power_w"})


@dataclass(frozen=True)
class CaseSummary:
    """One case over its launches.

    `status` is `ok` if any launch was, with the other launches' ends in `reason`; else that of the worst launch.
    `records` has the last record of each repeat, in order. `metrics` comes from the ok launches; what no launch could
    measure is in `absent` with its reason. `effective` is that of the first ok launch.
    """

    planned: PlannedCase
    status: Status
    reason: str | None
    records: tuple[Record, ...]
    metrics: dict[str, Estimate]
    absent: dict[str, str]
    findings: tuple[Finding, ...]
    validity: Validity
    correctness: Correctness
    effective: Effective | None

    @property
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
    def ok_records(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status is Status.OK)

    @property
    def crashed_records(self) -> tuple[Record, ...]:
        """Launches that crashed or ran out of time."""
        return tuple(record for record in self.records if record.status in CRASHED)

    @property
    def num_crashed(self) -> int:
        return len(self.crashed_records)

    def launch_values(self, metric: str) -> dict[int, float]:
        """The metric's finite values by repeat, of ok launches. Invalid energy is left out."""
        found = {}
        for record in self.ok_records:
            value = launch_metrics(record).get(metric)
            valid = metric not in _GPU_ENERGY or (record.telemetry or {}).get("energy_valid") is not False
            if valid and value is not None and math.isfinite(value):
                found[record.repeat] = value
        return found

    def interval(self, metric: str) -> tuple[float, float] | None:  # noqa: ARG002 - the protocol's signature
        """None: steps within a launch say nothing about how much launches differ."""
        return None

    def block_ratios(self) -> dict[int, float]:
        """Log ratios of launches that held both arms in alternating blocks, by repeat."""
        found = {record.repeat: record.block_log_ratio for record in self.ok_records}
        return {repeat: value for repeat, value in found.items() if value is not None and math.isfinite(value)}

    def took_effect(self) -> Mapping[str, Any]:
        return flat_effective(self.effective)


def launch_metrics(record: Record) -> Mapping[str, float | None]:
    """A record's metrics with those its parity check and training run imply."""
    implied: dict[str, float | None] = {}
    if record.parity is not None:
        implied["parity_logits_rel_error"] = record.parity.logits_rel_error
        implied["parity_loss_rel_error"] = record.parity.loss_rel_error
        implied["parity_gradient_rel_error"] = record.parity.gradient_rel_error
    if record.quality is not None:
        names = ("accuracy", "precision_macro", "recall_macro", "final_loss", "time_to_accuracy_s", "steps_to_accuracy")
        implied |= {name: getattr(record.quality, name) for name in names}
        if record.quality.time_to_accuracy_s is not None:
            implied["energy_to_accuracy_j"] = record.metrics.get("energy_j")
    return implied | dict(record.metrics)
