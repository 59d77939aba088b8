"""Gate rules, and whether a comparison breaks them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from gpubench.analysis.compare.case_changes import NOT_ON_BOTH_SIDES, CaseChange, MetricChange
from gpubench.analysis.summary.case_summary import CaseEntry, ComparableCase, Keeps
from gpubench.core.did_you_mean import near
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.core.units import format_percent
from gpubench.suite.model.suite import Gate
from gpubench.suite.select.patterns import matches

Outcome = Literal["pass", "fail", "unclear", "no data", "overruled"]
OnUnclear = Literal["pass", "warn", "fail"]

STATUSES = ("oom", "failed", "timeout", "unsupported", "invalid")
"""Statuses that a gate on `status` may forbid; `invalid`: the figures may not be used (e.g. wrong output)."""

AT_CASES = "@"

MEASURED = (Status.OK, Status.OOM, Status.FAILED, Status.TIMEOUT)
"""Statuses of a case that was tried."""

_MEANT = {"memory": "peak_memory_allocated_bytes", "latency": "latency_s", "step_time": "step_time_s"}
_MEANT |= {"time": "step_time_s", "energy": "energy_per_sample_j", "speed": "throughput", "oom": "status"}


@dataclass(frozen=True)
class GateRule:
    """One limit. `max_regression` is relative for ratios, absolute for shares and accuracies; `no_new` names statuses.

    It covers the cases that match `where` and pass `keeps`, if given; `cases` is `keeps` as the user wrote it. `named`:
    the user gave this rule, so having no data is an error.
    """

    metric: str
    max_regression: float | None = None
    no_new: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    cases: str = ""
    keeps: Keeps | None = field(default=None, compare=False, repr=False)
    named: bool = field(default=False, compare=False, repr=False)

    def __str__(self) -> str:
        where = "".join(f" {name}={value}" for name, value in self.where.items())
        where += f" {AT_CASES} {self.cases}" if self.cases else ""
        if self.no_new:
            return f"no new {', '.join(self.no_new)}{where}"
        return f"{self.metric} {format_percent(self.max_regression or 0.0)}{where}"

    def covers(self, change: CaseChange) -> bool:
        entry = change.measured
        return matches(entry.settings, self.where) and (self.keeps is None or self.keeps(entry))


@dataclass(frozen=True)
class Confirmation:
    """Fresh measurements of cases that broke the limit: the number of rounds, and the cases that then kept it.

    `lost`: cases whose fresh rounds could not be judged (crashed, skipped, INVALID): their failures stand.
    """

    rounds: int
    kept: tuple[CaseChange, ...]
    lost: tuple[CaseChange, ...] = ()


@dataclass(frozen=True)
class GateResult:
    """A rule's outcome over the cases it `covered`: those it decides that have its metric on both sides.

    `worst` is the case with the largest regression (None for statuses without a new failure). `failures` broke the
    limit, `unclear` cases are undecided, and `no_data` cases were not measured on both sides. The outcome is `fail`
    with any failure, else `unclear` with any unclear case, else `pass`; without a case it is `overruled` if later rules
    decide all of its cases, else `no data`.
    """

    rule: GateRule
    outcome: Outcome
    worst: CaseChange | None
    failures: tuple[CaseChange, ...]
    unclear: tuple[CaseChange, ...]
    covered: tuple[CaseChange, ...]
    confirmation: Confirmation | None = None
    no_data: tuple[CaseChange, ...] = ()

    @property
    def num_cases(self) -> int:
        return len(self.covered)


def rules_of(gates: Iterable[Gate]) -> tuple[GateRule, ...]:
    """The rules of a suite's `gates`. UsageError for an unknown metric, or a gate that limits nothing."""
    rules = (GateRule(gate.metric, gate.max_regression, tuple(gate.no_new or ()), dict(gate.where)) for gate in gates)
    return tuple(map(_checked, rules))


def parse_gate(text: str, select: Callable[[str], Keeps] | None = None) -> GateRule:
    """`throughput=3%`, `status=oom,failed`, or `throughput=8%@batch_size<64`; `select` reads the part after `@`.

    UsageError if it is not a gate.
    """
    from gpubench.core.units import parse_fraction

    metric, equals, rest = (part.strip() for part in text.partition("="))
    limit, at, cases = (part.strip() for part in rest.partition(AT_CASES))
    if not equals or not limit or (at and not cases):
        raise UsageError(
            f"not a gate: {text!r}",
            hint="Write METRIC=LIMIT, for example throughput=3% or status=oom,failed; "
            "METRIC=LIMIT@EXPR limits only the cases that match.",
        )
    keeps = select(cases) if cases and select is not None else None
    if metric == "status":
        names = tuple(name.strip() for name in limit.split(","))
        return _checked(GateRule(metric, no_new=names, cases=cases, keeps=keeps, named=True))
    try:
        fraction = parse_fraction(limit)
    except ValueError as error:
        raise UsageError(f"gate {metric}: {error}") from error
    rule = _checked(GateRule(metric, fraction, cases=cases, keeps=keeps, named=True))
    if fraction >= 1 and limit[-1:].isdigit() and METRICS[metric].scale == "ratio":
        raise UsageError(
            f"gate {metric}: {limit} is {format_percent(fraction)}",
            hint=f"Write {metric}={limit}%, or {metric}={fraction * 100:g}% if that is meant.",
        )
    return rule


def _checked(rule: GateRule) -> GateRule:
    if rule.metric == "status":
        unknown = [name for name in rule.no_new if name not in STATUSES]
        if unknown or not rule.no_new:
            meant = next((hint for name in unknown if (hint := near(name, STATUSES))), "")
            raise UsageError(
                f"gate status: {', '.join(unknown) or 'no status'} is not a status that a gate can forbid",
                hint=f"{meant.capitalize()} " * bool(meant) + f"Choose from {', '.join(STATUSES)}.",
            )
        return rule
    if rule.metric not in METRICS or METRICS[rule.metric].better is None:
        known = ("status", *(name for name, spec in METRICS.items() if spec.better is not None))
        meant = near(rule.metric, known, _MEANT)
        hint = f"{meant[:1].upper()}{meant[1:]} `gpubench list metrics` lists all." if meant else ""
        raise UsageError(
            f"gate {rule.metric}: not a metric that can get worse", hint=hint or f"Choose from {', '.join(known)}."
        )
    if rule.max_regression is None or rule.max_regression < 0:
        raise UsageError(f"gate {rule.metric}: needs a limit of at least 0", hint=f"Write {rule.metric}=3%.")
    if METRICS[rule.metric].never_worse_by(rule.max_regression):
        limit = format_percent(rule.max_regression)
        raise UsageError(
            f"gate {rule.metric}: a limit of {limit} can never be broken: it cannot fall by more than 100%",
            hint=f"Write {rule.metric}=3%.",
        )
    return rule


def check_gates(rules: Sequence[GateRule], changes: Sequence[CaseChange]) -> tuple[GateResult, ...]:
    """Applies every rule to the cases it covers; of several rules for a metric, the last one that covers a case
    decides.

    A limit is broken if the metric is judged worse and the whole interval lies beyond the limit; a case that is
    unclear, or whose interval contains the limit, never fails a gate.
    """
    decided: list[list[CaseChange]] = [[] for _ in rules]
    for change in changes:
        last = {rule.metric: position for position, rule in enumerate(rules) if rule.covers(change)}
        for position in last.values():
            decided[position].append(change)
    results = []
    for rule, mine in zip(rules, decided, strict=True):
        result = _check(rule, mine)
        overruled = not mine and any(map(rule.covers, changes))
        results.append(replace(result, outcome="overruled") if overruled else result)
    return tuple(results)


def _check(rule: GateRule, changes: Sequence[CaseChange]) -> GateResult:
    told = [_has_data(rule, change) for change in changes]
    covered = tuple(change for change, has in zip(changes, told, strict=True) if has)
    no_data = tuple(change for change, has in zip(changes, told, strict=True) if not has)
    if rule.metric == "status":
        broken = tuple(each for each in covered if _end(each.reference) == "ok" and _end(each.candidate) in rule.no_new)
        outcome = _outcome(broken, (), len(covered))
        return GateResult(rule, outcome, next(iter(broken), None), broken, (), covered, no_data=no_data)
    failures = tuple(change for change in covered if _breaks(rule, change.changes[rule.metric]))
    unclear = tuple(change for change in covered if change.changes[rule.metric].judgement == "unclear")
    worst = max(covered, key=lambda change: regression_of(change, rule.metric), default=None)
    outcome = _outcome(failures, unclear, len(covered))
    return GateResult(rule, outcome, worst, failures, unclear, covered, no_data=no_data)


def _has_data(rule: GateRule, change: CaseChange) -> bool:
    """Whether both sides measured the rule's metric. A case that did not run here has no status to judge."""
    if rule.metric == "status":
        sides = (change.reference, change.candidate)
        return all(side is not None and (side.status in MEASURED or side.status.value in rule.no_new) for side in sides)
    moved = change.changes.get(rule.metric)
    return moved is not None and not moved.reason.startswith(NOT_ON_BOTH_SIDES)


def _outcome(failures: Sequence[CaseChange], unclear: Sequence[CaseChange], num_cases: int) -> Outcome:
    return "fail" if failures else "unclear" if unclear else "pass" if num_cases else "no data"


def _end(entry: ComparableCase | None) -> str | None:
    if entry is None:
        return None
    invalid = entry.status is Status.OK and entry.validity is Validity.INVALID
    return "invalid" if invalid else entry.status.value


def regression_of(change: CaseChange, metric: str) -> float:
    """How much worse the metric got; minus infinity if that is not known."""
    found = change.changes[metric].regression
    return float("-inf") if found is None else found.value


def _breaks(rule: GateRule, moved: MetricChange) -> bool:
    found = moved.regression
    if moved.judgement != "worse" or found is None or rule.max_regression is None:
        return False
    if METRICS[rule.metric].scale == "ratio" and found.unit != "1":  # from 0, which is worse by any share
        return True
    return (found.value if found.low is None else found.low) > rule.max_regression


def confirm(results: Sequence[GateResult], fresh: Sequence[CaseChange], rounds: int) -> tuple[GateResult, ...]:
    """The same rules after `rounds` fresh rounds of the cases that failed, judged on those alone.

    The first rounds are biased towards alarm and not used again. A case fails only if its fresh rounds break the limit
    too, or could not be judged: without new measurements a failure stands.
    """
    again = {(change.measured.kind, change.case_id): change for change in fresh}
    return tuple(_confirmed(result, again, rounds) if result.failures else result for result in results)


def _confirmed(result: GateResult, again: Mapping[tuple[str, str], CaseChange], rounds: int) -> GateResult:
    measured, lost = [], []
    for change in result.failures:
        fresh = again.get((change.measured.kind, change.case_id))
        if fresh is None or not _told_again(result.rule, fresh, rounds):
            lost.append(change)
        else:
            measured.append(fresh)
    checked = _check(result.rule, measured)
    failures, unclear = (*checked.failures, *lost), (*result.unclear, *checked.unclear)
    not_kept = {(change.measured.kind, change.case_id) for change in (*failures, *checked.unclear)}
    kept = tuple(change for change in measured if (change.measured.kind, change.case_id) not in not_kept)
    return replace(
        result,
        outcome=_outcome(failures, unclear, result.num_cases),
        worst=checked.worst if checked.failures else result.worst,
        failures=failures,
        unclear=unclear,
        confirmation=Confirmation(rounds, kept, tuple(lost)),
    )


def _told_again(rule: GateRule, fresh: CaseChange, rounds: int) -> bool:
    """Whether the fresh rounds decide: both sides were measured, and if the metric stays unclear, in all rounds."""
    if not _has_data(rule, fresh) or fresh.candidate is None:
        return False
    if rule.metric == "status":
        return _end(fresh.reference) == "ok" and _end(fresh.candidate) in ("ok", *rule.no_new)
    moved = fresh.changes[rule.metric]
    if moved.judgement != "unclear":
        return True
    paired = moved.comparison is not None and moved.comparison.level in ("block", "launch")
    num = moved.comparison.rounds if paired and moved.comparison else len(fresh.candidate.launch_values(rule.metric))
    return moved.change is not None and num >= rounds


def limit_rules(cases: Iterable[ComparableCase]) -> tuple[GateRule, ...]:
    """Rules from limits that a source declares for single cases; put last, they decide their cases."""
    of_limit: dict[tuple[str, float], list[ComparableCase]] = {}
    for case in cases:
        for metric, limit in case.limits.items() if isinstance(case, CaseEntry) else ():
            of_limit.setdefault((metric, limit), []).append(case)
    rules = []
    for (metric, limit), found in of_limit.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        names = frozenset(case.case_id for case in found)
        keeps = partial(lambda names, entry: entry.case_id in names, names)
        rules.append(_checked(GateRule(metric, limit, cases=f"{found[0].label}{more} (its own limit)", keeps=keeps)))
    return tuple(rules)


def exit_status(
    results: Iterable[GateResult], changes: Iterable[CaseChange] = (), on_unclear: OnUnclear | None = None
) -> ExitStatus:
    """The exit status from the gates and the candidate's statuses; the first that applies:

    `GATE_FAILED` if a rule failed or, with `on_unclear` "fail", is unclear or without data. `CASE_FAILED` if any launch
    of the candidate crashed or ran out of time, or a case newly ran out of memory or became INVALID (so that its limits
    cannot be judged) and no rule on `status` covers it. `USAGE` if no rule could judge a single case, unless
    `on_unclear` decides that. Else `OK`.
    """
    found = tuple(results)
    outcomes = {result.outcome for result in found}
    if "fail" in outcomes or (on_unclear == "fail" and outcomes & {"unclear", "no data"}):
        return ExitStatus.GATE_FAILED
    told = {id(change) for result in found if result.rule.metric == "status" for change in result.covered}
    for change in changes:
        crashed = change.candidate is not None and change.candidate.num_crashed > 0
        spoilt = _end(change.reference) == "ok" and _end(change.candidate) in ("oom", "invalid")
        if crashed or (spoilt and id(change) not in told):
            return ExitStatus.CASE_FAILED
    decided = any(len(result.unclear) < result.num_cases for result in found)
    return ExitStatus.OK if decided or on_unclear is not None or not found else ExitStatus.USAGE
