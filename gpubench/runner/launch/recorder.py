"""From what a launch came to, to its record: figures, telemetry of exactly its window, samples in a file beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpubench.core.findings import Finding
from gpubench.core.metrics import METRICS
from gpubench.core.records import Failure, Record, Status
from gpubench.protocol.messages import Failed, Result
from gpubench.runner.launch.outcome import LaunchOutcome
from gpubench.runner.launch.planned_launch import PlannedLaunch
from gpubench.telemetry.window.telemetry_window import TelemetryWindow

GPU_LOST = "GB413"

WriteSamples = Callable[[str, Mapping[str, Sequence[float]]], str]


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
        samples = _samples(answer, window)
        if samples:
            arm = "" if launch.arm is None else f"-{launch.arm}"
            figures["samples"] = write(f"{launch.case.index:04d}{arm}-{launch.repeat}", samples)
    elif isinstance(answer, Failed):
        figures = {"effective": answer.effective}
    return _record(
        launch,
        status,
        reason,
        found,
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
    """The record of a launch that was skipped, or that no host could be started for."""
    return _record(launch, status, reason, findings, failure=failure)


def _record(
    launch: PlannedLaunch, status: Status, reason: str | None, findings: tuple[Finding, ...], **rest: Any
) -> Record:
    return Record(
        kind=launch.case.kind,
        case_index=launch.case.index,
        case_id=launch.case.case_id,
        label=launch.case.label,
        arm=launch.arm,
        repeat=launch.repeat,
        status=status,
        reason=reason,
        findings=findings,
        **rest,
    )


def shared(window: TelemetryWindow | None) -> TelemetryWindow | None:
    """The window of several arms as one arm's: the state of the machine, without energy and memory."""
    if window is None:
        return None
    own = [name for name, value in window.metrics.items() if value is not None and METRICS[name].group != "state"]
    metrics = {**window.metrics, **dict.fromkeys(own)}
    absent = {**window.absent, **dict.fromkeys(own, "the arms shared the window")}
    return replace(window, metrics=metrics, absent=absent, detail={**window.detail, "shared_by_arms": True})


def _samples(answer: Result, window: TelemetryWindow | None) -> dict[str, Sequence[float]]:
    """Arrays by name: `step_times_s`, the worker's marks as `mark_*`, telemetry as `telemetry_*`."""
    arrays: dict[str, Sequence[float]] = {"step_times_s": answer.step_times_s} if answer.step_times_s else {}
    arrays |= {f"mark_{name}": values for name, values in answer.marks.items()}
    if window is not None:
        arrays |= {f"telemetry_{name}": values for name, values in window.series.items()}
    return arrays


def _figures(answer: Result, hello_s: float | None, window: TelemetryWindow | None) -> dict[str, Any]:
    metrics = {**answer.metrics, **(window.metrics if window else {}), "isolation_s": hello_s}
    absent = {**answer.absent, **(window.absent if window else {})}
    if hello_s is None:
        absent["isolation_s"] = "the worker sent no hello"
    return {
        "effective": answer.effective,
        "window": answer.window,
        "series": answer.series,
        "metrics": metrics,
        "absent": {name: reason for name, reason in absent.items() if metrics.get(name) is None},
        "parity": answer.parity,
        "quality": answer.quality,
        "block_log_ratio": answer.block_log_ratio,
    }
