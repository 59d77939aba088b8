"""A run, case by case: what its launches say together."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gpubench.analysis.summary.accuracy_verdict import QualitySummary, drop_findings, judge_quality
from gpubench.analysis.summary.case_summary import CaseSummary, launch_metrics
from gpubench.analysis.summary.comparable_case import Correctness
from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.analysis.summary.measured_ceilings import with_mfu
from gpubench.analysis.summary.merge_launches import merge_findings, merge_status, spread_finding
from gpubench.analysis.summary.utilization import achieved_bandwidth, achieved_flops
from gpubench.core.findings import Finding, Validity, finding, validity
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate, Record, Status, latest
from gpubench.store.run_info import PlannedCase, RunInfo

_TAILS = frozenset(f"{time}_{tail}_s" for time in ("step_time", "latency") for tail in ("p90", "p95", "p99"))


class RecordedRun(Protocol):
    """What is needed of `store.runs.Run`."""

    @property
    def info(self) -> RunInfo: ...
    @property
    def records(self) -> Sequence[Record]: ...


@dataclass(frozen=True)
class RunSummary:
    """Measured cases and quality entries in the order of the plan."""

    info: RunInfo
    cases: tuple[CaseSummary, ...]
    quality: tuple[QualitySummary, ...] = ()

    @property
    def counts(self) -> dict[Status, int]:
        """Cases by status, quality entries included; only what occurs, in the order of `Status`."""
        found = Counter(entry.status for entry in (*self.cases, *(quality.summary for quality in self.quality)))
        return {status: found[status] for status in Status if found[status]}


def summarise_run(run: RecordedRun, *, arm: str | None = None, metrics: Collection[str] | None = None) -> RunSummary:
    """Summaries of every planned case. With `arm`, of that arm's launches alone; with `metrics`, estimates of those
    alone.

    Where a repeat was recorded twice (a resumed run), the later record counts. Training cases carry the accuracy
    finding of the quality entry of the same workload, device and precision.
    """
    of_case = _records_by_case(record for record in run.records if arm is None or record.arm == arm)
    summaries = [summarise_case(planned, of_case.get(planned.index, ()), metrics) for planned in run.info.cases]
    quality = judge_quality([entry for entry in summaries if entry.planned.kind == "quality"], run.info.suite)
    cases = [_with_findings(entry, drop_findings(entry, quality)) for entry in summaries if _is_measure(entry)]
    return RunSummary(info=run.info, cases=tuple(with_mfu(run.info, cases)), quality=quality)


def summarise_case(
    planned: PlannedCase, records: Sequence[Record], wanted: Collection[str] | None = None
) -> CaseSummary:
    """One planned case from its records, in any order. A case without records is skipped, with the plan's reason.

    `wanted` limits the estimates that are made, and leaves out the finding about their spread, which changes no
    figure's standing; launches keep all their values.
    """
    ok = [record for record in records if record.status is Status.OK]
    status, reason = merge_status(planned, records)
    metrics = _metrics(ok, METRICS if wanted is None else wanted)
    correctness = _correctness(ok)
    spread = spread_finding(ok) if wanted is None else None
    findings = (*merge_findings(ok or records), *_own_findings(planned, ok), *([spread] if spread else ()))
    return CaseSummary(
        planned=planned,
        status=status,
        reason=reason,
        records=tuple(records),
        metrics=metrics,
        absent=_absent(ok, metrics),
        findings=findings,
        validity=Validity.INVALID if correctness == "fail" else validity(findings),
        correctness=correctness,
        effective=ok[0].effective if ok else next((r.effective for r in records if r.effective), None),
    )


def _is_measure(summary: CaseSummary) -> bool:
    return summary.planned.kind == "measure"


def _records_by_case(records: Iterable[Record]) -> dict[int, list[Record]]:
    by_case: dict[int, list[Record]] = {}
    for record in sorted(latest(records), key=lambda each: (each.case_index, each.repeat)):
        by_case.setdefault(record.case_index, []).append(record)
    return by_case


def _metrics(ok: Sequence[Record], wanted: Collection[str]) -> dict[str, Estimate]:
    if not wanted:
        return {}
    values: dict[str, list[float]] = {}
    for record in ok:
        for name, value in launch_metrics(record).items():
            if value is not None and math.isfinite(value):
                values.setdefault(name, []).append(value)
    for name in _TAILS & values.keys():
        if len(values[name]) < len(ok):
            # Of the launches with enough steps alone it would be held against a median of them all.
            del values[name]
    metrics = {name: estimate(values[name], METRICS[name]) for name in METRICS.known(values) if name in wanted}
    derived = {"achieved_flops": achieved_flops(metrics), "achieved_bandwidth": achieved_bandwidth(metrics)}
    return metrics | {name: found for name, found in derived.items() if found is not None}


def _absent(ok: Sequence[Record], metrics: Mapping[str, Estimate]) -> dict[str, str]:
    reasons = {name: why for record in reversed(ok) for name, why in record.absent.items()}
    for record in ok:
        for name, value in launch_metrics(record).items():
            if value is not None and not math.isfinite(value):
                reasons.setdefault(name, f"not finite ({value}) in repeat {record.repeat}")
    return {name: why for name, why in reasons.items() if name not in metrics}


def _correctness(ok: Sequence[Record]) -> Correctness:
    verdicts = {record.parity.passed for record in ok if record.parity is not None}
    broken = any(entry.code.startswith("GB3") and entry.effect == "invalidates" for r in ok for entry in r.findings)
    if broken or False in verdicts:
        return "fail"
    return "pass" if verdicts else "unverified"


def _own_findings(planned: PlannedCase, ok: Sequence[Record]) -> list[Finding]:
    found = []
    if len(ok) == 1 and planned.kind == "measure":
        found.append(finding("GB206", "One launch: the spread between processes is unknown, so there is no interval."))
    return found


def _with_findings(summary: CaseSummary, findings: Sequence[Finding]) -> CaseSummary:
    if not findings:
        return summary
    everything = (*summary.findings, *findings)
    standing = Validity.INVALID if summary.correctness == "fail" else validity(everything)
    return replace(summary, findings=everything, validity=standing)
