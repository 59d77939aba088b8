"""Hand-made run folders for comparisons and gates: every launch is named, nothing is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.runs import ENVIRONMENT, NO_GPU_ENVIRONMENT, a_parity, a_quality, absent, effective, metrics, series

from gpubench.core.findings import Finding
from gpubench.core.records import Record, Status
from gpubench.store.run_info import ArmInfo, PlannedCase, RunInfo
from gpubench.suite.model.case import Case

STEADY = (1.000, 1.002, 0.999, 1.001, 0.998, 1.0005, 1.0015, 0.9995, 1.0, 0.9985)
"""Ten launches that vary by 0.1 %, relative to their rate."""


@dataclass
class HandMade:
    """Collects cases; `write` makes the run folder. Rates are samples/s, one per launch."""

    suite: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=lambda: NO_GPU_ENVIRONMENT)
    arms: Sequence[str] = ()
    given: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    planned: list[PlannedCase] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def plan(self, **settings: Any) -> PlannedCase:
        case = Case(**settings)
        label = " ".join(str(value) for value in settings.values()) or "defaults"
        planned = PlannedCase(index=len(self.planned) + 1, case_id=case.case_id, label=label, settings=case.settings)
        self.planned.append(planned)
        return planned

    def launches(
        self,
        planned: PlannedCase,
        rate: float,
        factors: Sequence[float] = STEADY,
        *,
        arm: str | None = None,
        parity: bool | None = True,
        findings: Sequence[Finding] = (),
        extra: Mapping[str, float] | None = None,
        versions: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        case = Case(**planned.settings)
        took = effective(case).model_copy(update={"versions": dict(versions or {})})
        for repeat, factor in enumerate(factors, start=1):
            step_s = case.batch_size / (rate * factor)
            self._add(
                planned,
                repeat,
                arm,
                Status.OK,
                effective=took,
                series=series(case, step_s),
                metrics={**metrics(case, step_s), **(extra or {})},
                absent=absent(case),
                findings=tuple(findings),
                parity=a_parity(case, passed=parity) if parity is not None and repeat == 1 else None,
                **fields,
            )

    def ended(self, planned: PlannedCase, status: Status, reason: str, *, arm: str | None = None) -> None:
        self._add(planned, 1, arm, status, reason=reason)

    def _add(self, planned: PlannedCase, repeat: int, arm: str | None, status: Status, **fields: Any) -> None:
        self.records.append(
            Record(
                case_index=planned.index,
                case_id=planned.case_id,
                label=planned.label,
                arm=arm,
                repeat=repeat,
                status=status,
                **fields,
            )
        )

    def trained(self, measured: PlannedCase, accuracy: float, *, extra: Mapping[str, float] | None = None) -> None:
        """An accuracy run with the settings of a measured case, which therefore has its id."""
        changed = {"kind": "quality", "index": len(self.planned) + 1, "label": f"quality {measured.label}"}
        planned = measured.model_copy(update=changed)
        self.planned.append(planned)
        found = {"quality": a_quality(accuracy), "metrics": dict(extra or {})}
        self._add(planned, 1, None, Status.OK, kind="quality", **found)

    def measured(
        self, rate: float, factors: Sequence[float] = STEADY, *, head: float | None = None, **settings: Any
    ) -> PlannedCase:
        """A case; with `head`, both arms of it, the second at that rate."""
        planned = self.plan(**settings)
        if head is None:
            self.launches(planned, rate, factors)
        else:
            self.launches(planned, rate, factors, arm=self.arms[0])
            self.launches(planned, head, factors[::-1], arm=self.arms[1])
        return planned

    def write(self, store: Path, name: str, *, created: str = "2026-11-23T16:02:00Z", **changes: Any) -> Path:
        info = RunInfo(
            run=name,
            suite_name="fake",
            suite_digest="0" * 16,
            created=created,
            suite={"schema": 1, "name": "fake", **self.suite},
            repeats=10,
            environment=dict(self.environment),
            cases=tuple(self.planned),
            arms=tuple(ArmInfo(name=arm, given=dict(self.given.get(arm, {}))) for arm in self.arms),
            **changes,
        )
        folder = store / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(info.model_dump_json(by_alias=True), encoding="utf-8")
        lines = (record.model_dump_json(by_alias=True) + "\n" for record in self.records)
        (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
        return folder


def two_arms(**fields: Any) -> HandMade:
    return HandMade(arms=("base", "head"), **fields)


__all__ = ["ENVIRONMENT", "NO_GPU_ENVIRONMENT", "STEADY", "HandMade", "two_arms"]
