"""Small runs made of plain numbers, for the analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpubench.core.findings import Finding
from gpubench.core.records import ContestRecord, Failure, Parity, Quality, Record, Series, Status
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.suite.model.case import Case


@dataclass(frozen=True)
class FakeRun:
    info: RunInfo
    records: tuple[Record, ...]
    dropped: tuple[str, ...] = ()
    contests: tuple[ContestRecord, ...] = ()


@dataclass
class RunBuilder:
    """Collects cases and their records; `run()` is what the store would load."""

    suite: Mapping[str, Any] = field(default_factory=dict)
    planned: list[PlannedCase] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def plan(self, *, kind: str = "measure", skip: tuple[Status, str] | None = None, **settings: Any) -> PlannedCase:
        case = Case(**settings)
        label = " ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"
        planned = PlannedCase(
            index=len(self.planned) + 1,
            kind=kind,
            case_id=case.case_id,
            label=label,
            settings=case.settings,
            skip_status=skip[0] if skip else None,
            skip_reason=skip[1] if skip else None,
        )
        self.planned.append(planned)
        return planned

    def record(self, planned: PlannedCase, repeat: int, status: Status = Status.OK, **fields: Any) -> Record:
        record = Record(
            kind=planned.kind,
            case_index=planned.index,
            case_id=planned.case_id,
            label=planned.label,
            repeat=repeat,
            status=status,
            **fields,
        )
        self.records.append(record)
        return record

    def measured(
        self,
        throughputs: Sequence[float],
        *,
        parity: bool | None = True,
        findings: Sequence[Finding] = (),
        metrics: Mapping[str, float] | None = None,
        **settings: Any,
    ) -> PlannedCase:
        """A case with one ok launch per throughput (samples/s); `parity` None leaves it unverified."""
        planned = self.plan(**settings)
        for repeat, rate in enumerate(throughputs, start=1):
            batch = planned.settings["batch_size"]
            self.record(
                planned,
                repeat,
                metrics={"throughput": rate, "step_time_s": batch / rate, **(metrics or {})},
                parity=a_parity(parity) if repeat == 1 and parity is not None else None,
                series=a_series(batch / rate),
                findings=tuple(findings),
            )
        return planned

    def trained(self, accuracies: Mapping[int, float], **settings: Any) -> PlannedCase:
        """A quality entry with one training run per seed."""
        planned = self.plan(kind="quality", mode="train", data="digits", **settings)
        for repeat, (seed, accuracy) in enumerate(accuracies.items(), start=1):
            self.record(planned, repeat, quality=a_quality(seed, accuracy))
        return planned

    def run(self) -> FakeRun:
        info = RunInfo(
            run="20261123-1602-fake-0001",
            suite_name="fake",
            suite={"schema": 1, "name": "fake", **self.suite},
            suite_digest="0" * 16,
            created="2026-11-23T16:02:00Z",
            cases=tuple(self.planned),
        )
        return FakeRun(info, tuple(self.records))


def a_series(median_s: float, half_width: float = 0.002) -> Series:
    return Series(
        clock="perf_counter",
        timing="throughput",
        num_total=100,
        num_warmup=5,
        num_steady=95,
        tau=1.0,
        n_effective=95.0,
        median_s=median_s,
        low_s=median_s * (1 - half_width),
        high_s=median_s * (1 + half_width),
    )


def a_parity(passed: bool) -> Parity:
    return Parity(
        passed=passed,
        logits_rel_error=1e-6 if passed else 0.5,
        loss_rel_error=1e-7,
        logits_limit=2e-5,
        loss_limit=1e-4,
        num_samples=8,
    )


def a_quality(seed: int, accuracy: float) -> Quality:
    return Quality(
        seed=seed,
        epochs=2,
        learning_rate=1e-3,
        loss_per_epoch=(1.0, 0.5),
        score_name="accuracy",
        score=accuracy,
        score_better="higher",
        accuracy=accuracy,
        precision_macro=accuracy,
        recall_macro=accuracy,
        final_loss=0.5,
        training_time_s=3.0,
        num_train=1257,
        num_validation=270,
        num_test=270,
    )


def an_oom() -> Failure:
    return Failure(phase="warmup", error="OutOfMemoryError", message="out of memory", requested_bytes=2**30)
