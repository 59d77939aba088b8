"""From a launch's ending to its record: the worker's figures, the telemetry of exactly its window, the samples beside
it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gpubench.core.findings import Finding
from gpubench.core.metrics import METRICS
from gpubench.core.records import Record, Status
from gpubench.protocol.messages import Failed, Result
from gpubench.runner.launch.launching import Ending
from gpubench.runner.launch.outcome import Meaning
from gpubench.runner.launch.planned_launch import PlannedLaunch
from gpubench.runner.launch.worker_hosts import Host
from gpubench.telemetry.window.telemetry_window import TelemetryWindow

GPU_LOST = "GB413"

Samples = Mapping[str, Sequence[float]]
WriteSamples = Callable[[str, Samples], str]


@dataclass(frozen=True)
class Clocked:
    """When a launch began (seconds since the epoch) and how long it took, from asking to its end, in seconds."""

    started_unix_s: float
    wall_s: float


def record_of(
    launch: PlannedLaunch,
    host: Host,
    ending: Ending,
    means: Meaning,
    clocked: Clocked,
    *,
    telemetry: TelemetryWindow | None,
    findings: tuple[Finding, ...],
    write: WriteSamples,
) -> Record:
    """The record of a launch that came to something; its samples are written first, so that it never names a missing
    file.
    """
    assert means.status is not None, "a launch that was stopped before its first step has no record"
    found = (*means.findings, *(telemetry.findings if telemetry else ()), *findings)
    status, reason = means.status, means.reason
    lost = next((entry for entry in found if entry.code == GPU_LOST), None)
    if status is Status.OK and lost is not None:
        status, reason = Status.FAILED, lost.message
    common = {
        "kind": launch.case.kind,
        "case_index": launch.case.index,
        "case_id": launch.case.case_id,
        "label": launch.case.label,
        "arm": launch.arm,
        "repeat": launch.repeat,
        "status": status,
        "reason": reason,
        "started_unix_s": clocked.started_unix_s,
        "wall_s": clocked.wall_s,
        "isolation": ending.isolation,
        "host_pid": host.pid,
        "pid": ending.pid,
        "failure": means.failure,
        "findings": found,
        "telemetry": telemetry.detail if telemetry else None,
    }
    outcome = ending.outcome
    if isinstance(outcome, Result):
        metrics, absent = _figures(outcome, ending, telemetry)
        samples = samples_of(outcome, telemetry)
        return Record(
            **common,
            effective=outcome.effective,
            window=outcome.window,
            series=outcome.series,
            metrics=metrics,
            absent=absent,
            parity=outcome.parity,
            quality=outcome.quality,
            samples=write(sample_name(launch), samples) if samples else None,
            block_log_ratio=outcome.block_log_ratio,
        )
    return Record(**common, effective=outcome.effective if isinstance(outcome, Failed) else None)


def shared(window: TelemetryWindow | None) -> TelemetryWindow | None:
    """What the telemetry of a window that arms shared says of each: the state of the machine, and no energy or memory
    of its own.
    """
    if window is None:
        return None
    own = [name for name, value in window.metrics.items() if value is not None and METRICS[name].group != "state"]
    metrics = {**window.metrics, **dict.fromkeys(own)}
    absent = {**window.absent, **dict.fromkeys(own, "the arms shared the window")}
    return replace(window, metrics=metrics, absent=absent, detail={**window.detail, "shared_by_arms": True})


def skipped(launch: PlannedLaunch, reason: str, *findings: Finding) -> Record:
    """The record of a launch that was not done."""
    return Record(
        kind=launch.case.kind,
        case_index=launch.case.index,
        case_id=launch.case.case_id,
        label=launch.case.label,
        arm=launch.arm,
        repeat=launch.repeat,
        status=Status.SKIPPED,
        reason=reason,
        findings=findings,
    )


def sample_name(launch: PlannedLaunch) -> str:
    arm = "" if launch.arm is None else f"-{launch.arm}"
    return f"{launch.case.index:04d}{arm}-{launch.repeat}"


def samples_of(outcome: Result, telemetry: TelemetryWindow | None) -> dict[str, Sequence[float]]:
    """Arrays by name: `step_times_s`, the worker's marks as `mark_*`, telemetry as `telemetry_*`."""
    arrays: dict[str, Sequence[float]] = {"step_times_s": outcome.step_times_s} if outcome.step_times_s else {}
    arrays |= {f"mark_{name}": values for name, values in outcome.marks.items()}
    if telemetry is not None:
        arrays |= {f"telemetry_{name}": values for name, values in telemetry.series.items()}
    return arrays


def _figures(
    outcome: Result, ending: Ending, telemetry: TelemetryWindow | None
) -> tuple[dict[str, float | None], dict[str, str]]:
    metrics: dict[str, float | None] = dict(outcome.metrics)
    absent = dict(outcome.absent)
    if telemetry is not None:
        metrics |= telemetry.metrics
        absent |= telemetry.absent
    metrics["isolation_s"] = ending.hello_s
    if ending.hello_s is None:
        absent["isolation_s"] = "the worker sent no hello"
    return metrics, {name: reason for name, reason in absent.items() if metrics.get(name) is None}
