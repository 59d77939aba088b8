"""Summarises a run case by case."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean
from typing import Any, Protocol

from gpubench.analysis.fleet.judge_run import Fleet, judge_fleet
from gpubench.analysis.summary.accuracy_verdict import QualitySummary, drop_findings, judge_quality
from gpubench.analysis.summary.case_figures import CaseFigures
from gpubench.analysis.summary.case_summary import CaseSummary, Correctness
from gpubench.analysis.summary.contest_levels import ContestLevels, contest_levels
from gpubench.analysis.summary.measured_ceilings import Ceilings, ceilings_of, judge_by_peaks
from gpubench.analysis.summary.roofs import with_findings_above_roofs
from gpubench.analysis.summary.scaling_efficiency import judge_scaling
from gpubench.analysis.summary.with_contests import with_contests
from gpubench.core.findings import Finding, Validity, finding, validity
from gpubench.core.records import ContestRecord, Record, Status, latest
from gpubench.core.units import format_number, format_percent
from gpubench.stats.estimators import mean_location
from gpubench.store.run_info import PlannedCase, RunInfo

_WORST_FIRST = (Status.FAILED, Status.TIMEOUT, Status.OOM, Status.UNSUPPORTED, Status.SKIPPED)
_LEAST_SPREAD = 0.01
_MUCH_MORE = 3.0
_ROUNDING = 1e-6
LEAST_LAUNCHES = 6
LEAST_APART = 0.02
_LEAST_OF_EACH = 2
_TIMES_WITHIN = 3.0


class RecordedRun(Protocol):
    """The part of `store.run_reader.Run` needed here."""

    @property
    def info(self) -> RunInfo: ...
    @property
    def records(self) -> Sequence[Record]: ...
    @property
    def contests(self) -> Sequence[ContestRecord]: ...


@dataclass(frozen=True)
class RunSummary:
    """Measured cases and quality entries in the order of the plan, the contests in which cases took turns, and a
    fleet's cards. `price_per_hour`: what the machine costs, in any currency; None if not given.
    """

    info: RunInfo
    cases: tuple[CaseSummary, ...]
    quality: tuple[QualitySummary, ...] = ()
    contests: tuple[ContestLevels, ...] = ()
    price_per_hour: float | None = None
    fleet: Fleet | None = None

    def __repr__(self) -> str:
        return f"<RunSummary of {self.info.run}: {len(self.cases)} cases, {len(self.quality)} quality runs>"

    @cached_property
    def ceilings(self) -> Ceilings:
        """Those measured by the run, and those known when it began."""
        return ceilings_of(self.info, self.cases)

    @property
    def counts(self) -> dict[Status, int]:
        """Number of cases by status, including quality entries; only statuses that occur, in the order of `Status`."""
        found = Counter(entry.status for entry in (*self.cases, *(quality.summary for quality in self.quality)))
        return {status: found[status] for status in Status if found[status]}


def summarise_run(
    run: RecordedRun,
    *,
    arm: str | None = None,
    metrics: Collection[str] | None = None,
    price_per_hour: float | None = None,
) -> RunSummary:
    """Summarises every planned case. `arm` limits the launches, `metrics` the estimates. `price_per_hour` of the
    machine, by default that given to the run, adds what samples cost.

    If a repeat was recorded twice (a resumed run), the later record counts. Training cases get the accuracy finding of
    the quality entry with the same workload, device and precision.
    """
    price_per_hour = run.info.price_per_hour if price_per_hour is None else price_per_hour
    records = latest(each for each in run.records if arm is None or each.arm == arm)
    of_case: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda each: (each.case_index, each.repeat)):
        if record.kind == "retest":  # of some of the cards only
            continue
        of_case.setdefault(record.case_index, []).append(record)
    by_data = launches_by_data(run.info)
    summaries = [
        summarise_case(planned, of_case.get(planned.index, ()), metrics, by_data=by_data) for planned in run.info.cases
    ]
    for entry in summaries:
        entry.metrics.price_per_hour = price_per_hour if entry.kind == "measure" else None
    quality = judge_quality([entry for entry in summaries if entry.kind == "quality"], run.info.suite)
    any_drop = any(trained.verdict == "drop" for trained in quality)
    cases = []
    for entry in summaries:
        dropped = drop_findings(entry, quality) if any_drop and entry.kind == "measure" else ()
        if dropped:
            everything = (*entry.findings, *dropped)
            standing = Validity.INVALID if entry.correctness == "fail" else validity(everything)
            entry = replace(entry, findings=everything, validity=standing)
        if entry.kind == "measure":
            cases.append(entry)
    ceilings = ceilings_of(run.info, cases)
    judge_by_peaks(run.info, cases, ceilings)
    if metrics is None:
        cases = with_findings_above_roofs(run.info, cases, ceilings)
    judge_scaling(cases)
    contests = contest_levels(run.contests) if arm is None else ()
    return RunSummary(
        info=run.info,
        cases=with_contests(cases, contests),
        quality=quality,
        contests=contests,
        price_per_hour=price_per_hour,
        fleet=judge_fleet(run.info, run.records) if metrics is None else None,
    )


def launches_by_data(info: RunInfo) -> bool:
    """Whether the data decided how many launches a case has."""
    repeats = (info.suite.get("measure") or {}).get("repeats", 0)
    return not (isinstance(repeats, int) or info.arms)


def summarise_case(
    planned: PlannedCase,
    records: Sequence[Record],
    wanted: Collection[str] | None = None,
    *,
    by_data: bool = False,
) -> CaseSummary:
    """Summarises one planned case from its records, in any order. A case without records is skipped, with the plan's
    reason.

    `wanted` limits the estimates, and leaves out the finding about spread, which does not change validity; launches
    keep all their values.
    """
    ok = [record for record in records if record.status is Status.OK]
    status, reason = merge_status(planned, records)
    different = several_models(ok)
    own = [] if different is None else [different]
    correctness = "fail" if own else _correctness(ok)
    if len(ok) == 1 and planned.kind == "measure":
        own.append(finding("GB206", "One launch: the spread between processes is unknown, so there is no interval."))
    spread = (spread_finding(ok), two_levels(ok)) if wanted is None else ()
    findings = (*merge_findings(ok or records), *own, *(each for each in spread if each is not None))
    return CaseSummary(
        planned=planned,
        status=status,
        reason=reason,
        records=tuple(records),
        metrics=CaseFigures(ok, wanted, by_data=by_data),
        findings=findings,
        validity=Validity.INVALID if correctness == "fail" else validity(findings),
        correctness=correctness,
        effective=ok[0].effective if ok else next((r.effective for r in records if r.effective), None),
    )


def merge_status(planned: PlannedCase, records: Sequence[Record]) -> tuple[Status, str | None]:
    """A case is ok if any launch was, else it has the worst launch's status. The reason names the other statuses."""
    if not records:
        return planned.skip_status or Status.SKIPPED, planned.skip_reason or "not measured yet"
    worst = [record for status in _WORST_FIRST for record in records if record.status is status]
    if len(worst) == len(records):
        return worst[0].status, worst[0].reason
    if not worst:
        return Status.OK, None
    ends = ", ".join(dict.fromkeys(record.status.value for record in worst))
    return Status.OK, f"{len(worst)} of {len(records)} launches did not end well ({ends}): {worst[0].reason or ends}"


def merge_findings(records: Sequence[Record]) -> tuple[Finding, ...]:
    """One finding per code, and per rank that it names, in order of appearance. Says how many launches have it, unless
    all do.
    """
    alike: dict[tuple[str, Any], list[Finding]] = {}
    for record in records:
        for which, entry in {(entry.code, entry.data.get("rank")): entry for entry in record.findings}.items():
            alike.setdefault(which, []).append(entry)
    total, merged = len(records), []
    for first, *others in alike.values():
        if total == 1:
            merged.append(first)
            continue
        num = 1 + len(others)
        message = first.message + (f" ({num} of {total} launches)" if num < total else "")
        data = {**first.data, "num_launches_with": num, "num_launches": total}
        merged.append(first.model_copy(update={"message": message, "data": data}))
    return tuple(merged)


def several_models(ok: Sequence[Record]) -> Finding | None:
    """GB308 if launches of one arm had models of different work, so that their mean is of nothing."""
    if len({record.metrics.get("flops_per_sample") for record in ok}) < 2 or _may_vary(ok):
        return None
    of_arm: dict[str | None, set[float]] = {}
    for record in ok:
        if (value := record.metrics.get("flops_per_sample")) is not None:
            of_arm.setdefault(record.arm, set()).add(value)
    low, high = max(((min(each), max(each)) for each in of_arm.values()), key=_ratio, default=(0.0, 0.0))
    if high <= low * (1 + _ROUNDING):
        return None
    message = f"Launches had different models: {format_number(low)} to {format_number(high)} FLOPs per sample."
    return finding("GB308", message, low=low, high=high)


def _may_vary(ok: Sequence[Record]) -> bool:
    """Whether the work depends on data, or may be drawn at random: a pass that differs from itself is unverified."""
    return any(entry.code in ("GB306", "GB314") for record in ok for entry in record.findings)


def _ratio(ends: tuple[float, float]) -> float:
    return ends[1] / ends[0] if ends[0] > 0 else 1.0


def spread_finding(ok: Sequence[Record]) -> Finding | None:
    """GB211 if launches differ by more than 1 % and by more than three times what their own steps explain."""
    series = [record.series for record in ok if record.series is not None]
    widths = [(s.high_s - s.low_s) / 2 / s.median_s for s in series if s.low_s is not None and s.high_s is not None]
    if len(series) < 3 or not widths:
        return None
    between = mean_location([math.log(s.median_s) for s in series]).standard_error * math.sqrt(len(series))
    within = sorted(widths)[len(widths) // 2] / 1.96
    if between <= max(_LEAST_SPREAD, _MUCH_MORE * within):
        return None
    return finding(
        "GB211",
        f"Launches vary by {format_percent(between)}, steps within a launch explain {format_percent(within)}.",
        between=between,
        within=within,
    )


def split_levels(values: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """Two groups of values (logs), the lower first, if the widest gap is at least 2 % and three times the span of
    either group.

    None for fewer than six values, or if a group would have one. In values from one normal distribution it finds two
    groups in less than 1 % of cases.
    """
    ordered = sorted(values)
    if len(ordered) < LEAST_LAUNCHES:
        return None
    at = max(range(1, len(ordered)), key=lambda place: ordered[place] - ordered[place - 1])
    low, high = ordered[:at], ordered[at:]
    gap = high[0] - low[-1]
    spans = max(low[-1] - low[0], high[-1] - high[0])
    if min(len(low), len(high)) < _LEAST_OF_EACH or gap < LEAST_APART or gap < _TIMES_WITHIN * spans:
        return None
    return low, high


def two_levels(ok: Sequence[Record]) -> Finding | None:
    """GB212 if step times of launches have two levels."""
    found = split_levels([math.log(record.series.median_s) for record in ok if record.series is not None])
    if found is None:
        return None
    low, high = found
    apart = math.expm1(mean(high) - mean(low))
    return finding(
        "GB212",
        f"Two levels, {format_percent(apart)} apart: {len(low)} launches at {math.exp(mean(low)) * 1e3:.3g} ms a step, "
        f"{len(high)} at {math.exp(mean(high)) * 1e3:.3g} ms.",
        apart=apart,
        launches=[len(low), len(high)],
    )


def _correctness(ok: Sequence[Record]) -> Correctness:
    verdicts = {record.parity.passed for record in ok if record.parity is not None}
    broken = any(entry.code.startswith("GB3") and entry.effect == "invalidates" for r in ok for entry in r.findings)
    if broken or False in verdicts:
        return "fail"
    return "pass" if verdicts else "unverified"
