"""Turns the outcome of a launch into its record: figures, telemetry of exactly its window, samples in a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpubench.core.findings import Finding
from gpubench.core.metrics import METRICS
from gpubench.core.records import Failure, Record, Status
from gpubench.protocol.loaded_files import joint_digest
from gpubench.protocol.messages import Failed, Result
from gpubench.runner.launch.outcome import LaunchOutcome
from gpubench.store.run_info import PlannedCase
from gpubench.telemetry.window.window_figures import TelemetryWindow

GPU_LOST = "GB413"

WriteSamples = Callable[[str, Mapping[str, Sequence[float]]], str]


@dataclass(frozen=True)
class PlannedLaunch:
    """A launch to do: of a case, in round `repeat` (from 1), and for an arm if the run has arms."""

    case: PlannedCase
    repeat: int
    arm: str | None = None


def record_of(
    launch: PlannedLaunch, outcome: LaunchOutcome, write: WriteSamples, findings: tuple[Finding, ...] = ()
) -> Record:
    """The record of a judged launch. Samples are written first: a record never names a missing file."""
    assert outcome.status is not None, "a launch that was stopped before its first step has no record"
    window, answer = outcome.window, outcome.answer
    found = (*outcome.findings, *(window.findings if window else ()), *outcome.noticed, *findings)
    status, reason = outcome.status, outcome.reason
    lost = next((entry for entry in found if entry.code == GPU_LOST), None)
    if status is Status.OK and lost is not None:
        status, reason = Status.FAILED, lost.message
    figures: dict[str, Any] = {}
    if isinstance(answer, Result):
        figures = _figures(answer, outcome.hello_s, window)
        samples: dict[str, Sequence[float]] = {"step_times_s": answer.step_times_s} if answer.step_times_s else {}
        samples |= {f"mark_{name}": values for name, values in answer.marks.items()}
        samples |= {f"telemetry_{name}": values for name, values in (window.series if window else {}).items()}
        if samples:
            arm = "" if launch.arm is None else f"-{launch.arm}"
            figures["samples"] = write(f"{launch.case.index:04d}{arm}-{launch.repeat}", samples)
    elif isinstance(answer, Failed):
        figures = {"effective": answer.effective}
    return _record(
        launch,
        status=status,
        reason=reason,
        findings=found,
        started_unix_s=outcome.started_unix_s,
        wall_s=outcome.wall_s,
        isolation=outcome.isolation,
        host_pid=outcome.host_pid,
        pid=outcome.pid,
        failure=outcome.failure,
        telemetry=window.detail if window else None,
        **figures,
    )


def unmeasured(
    launch: PlannedLaunch, status: Status, reason: str, *findings: Finding, failure: Failure | None = None
) -> Record:
    """The record of a launch that was skipped, or for which no host could be started."""
    return _record(launch, status=status, reason=reason, findings=findings, failure=failure)


def _record(launch: PlannedLaunch, **rest: Any) -> Record:
    case = launch.case
    ids = {"kind": case.kind, "case_index": case.index, "case_id": case.case_id, "label": case.label}
    return Record.model_validate({**ids, "arm": launch.arm, "repeat": launch.repeat, **rest})


def shared(window: TelemetryWindow | None, why: str = "the arms shared the window") -> TelemetryWindow | None:
    """The shared window of several arms or ranks, for one of them: the device's state, without energy and memory."""
    if window is None:
        return None
    own = [name for name, value in window.metrics.items() if value is not None and METRICS[name].group != "state"]
    metrics = {**window.metrics, **dict.fromkeys(own)}
    absent = {**window.absent, **dict.fromkeys(own, why)}
    return replace(window, metrics=metrics, absent=absent, detail={**window.detail, "shared_by_arms": True})


def _figures(answer: Result, hello_s: float | None, window: TelemetryWindow | None) -> dict[str, Any]:
    metrics = {**answer.metrics, **(window.metrics if window else {}), "isolation_s": hello_s}
    absent = {"isolation_s": "the worker sent no hello", **answer.absent, **(window.absent if window else {})}
    same = "effective", "window", "series", "parity", "quality", "block_log_ratio", "ranks"
    return {
        **{name: getattr(answer, name) for name in same},
        "workload_digest": joint_digest(answer.files),
        "metrics": metrics,
        "absent": {name: reason for name, reason in absent.items() if metrics.get(name) is None},
    }
