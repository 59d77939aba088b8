"""Limits, and whether a run keeps them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.summary.case_summary import CaseEntry, ComparableCase, Keeps
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.core.findings import Validity
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.core.units import format_percent
from gpubench.suite.model.suite import Gate
from gpubench.suite.select.patterns import matches

Outcome = Literal["pass", "fail", "unclear", "no data"]

STATUSES = ("oom", "failed", "timeout", "unsupported", "invalid")
"""Ends of a case that a gate on `status` may forbid; `invalid`: its figures may not be used (e.g. wrong output)."""

AT_CASES = "@"


@dataclass(frozen=True)
class GateRule:
    """One limit. `max_regression` is relative for ratios, absolute for shares and accuracies; `no_new` names statuses.

    It covers the cases that match `where` and pass `keeps`, if given; `cases` is `keeps` as the user wrote it.
    """

    metric: str
    max_regression: float | None = None
    no_new: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    cases: str = ""
    keeps: Keeps | None = field(default=None, compare=False, repr=False)

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
    """Fresh measurements of cases that had broken the limit: how many rounds, and the cases that kept it then."""

    rounds: int
    kept: tuple[CaseChange, ...]


@dataclass(frozen=True)
class GateResult:
    """A rule's outcome over the cases it `covered`: those it decides for that have its metric.

    `worst` is the case with the largest regression (None for statuses without a new failure). `failures` broke the
    limit; `unclear` cannot be told. The outcome is `fail` with any failure, else `unclear` with any unclear case,
    `no data` if the rule met no case, else `pass`.
    """

    rule: GateRule
    outcome: Outcome
    worst: CaseChange | None
    failures: tuple[CaseChange, ...]
    unclear: tuple[CaseChange, ...]
    covered: tuple[CaseChange, ...]
    confirmation: Confirmation | None = None

    @property
    def num_cases(self) -> int:
        return len(self.covered)


def rules_of(gates: Iterable[Gate]) -> tuple[GateRule, ...]:
    """The rules of a suite's `gates`. UsageError for an unknown metric, or a gate that limits nothing."""
    rules = (GateRule(gate.metric, gate.max_regression, tuple(gate.no_new or ()), dict(gate.where)) for gate in gates)
    return tuple(map(_checked, rules))


def parse_gate(text: str, select: Callable[[str], Keeps] | None = None) -> GateRule:
    """`throughput=3%`, `status=oom,failed`, or `throughput=8%@batch_size<64`; `select` reads the part after `@`.

    UsageError that says what is wrong with it.
    """
    from gpubench.core.units import parse_fraction

    metric, equals, rest = (part.strip() for part in text.partition("="))
    limit, at, cases = (part.strip() for part in rest.partition(AT_CASES))
    if not equals or not limit or (at and not cases):
        raise UsageError(
            f"not a gate: {text!r}",
            hint="Write METRIC=LIMIT, for example throughput=3% or status=oom,failed; "
            "METRIC=LIMIT@EXPR limits single cases.",
        )
    keeps = select(cases) if cases and select is not None else None
    if metric == "status":
        names = tuple(name.strip() for name in limit.split(","))
        return _checked(GateRule(metric, no_new=names, cases=cases, keeps=keeps))
    try:
        fraction = parse_fraction(limit)
    except ValueError as error:
        raise UsageError(f"gate {metric}: {error}") from error
    rule = _checked(GateRule(metric, fraction, cases=cases, keeps=keeps))
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
            raise UsageError(
                f"gate status: {', '.join(unknown) or 'no status'} is not one it can forbid",
                hint=f"Choose from {', '.join(STATUSES)}.",
            )
        return rule
    if rule.metric not in METRICS or METRICS[rule.metric].better is None:
        known = ", ".join(name for name, spec in METRICS.items() if spec.better is not None)
        raise UsageError(f"gate {rule.metric}: not a metric that can get worse", hint=f"Choose from {known}.")
    if rule.max_regression is None or rule.max_regression < 0:
        raise UsageError(f"gate {rule.metric}: needs a limit of at least 0", hint=f"Write {rule.metric}=3%.")
    if METRICS[rule.metric].never_worse_by(rule.max_regression):
        limit = format_percent(rule.max_regression)
        raise UsageError(
            f"gate {rule.metric}: nothing breaks a limit of {limit}, it cannot fall by more than 100%",
            hint=f"Write {rule.metric}=3%.",
        )
    return rule


def check_gates(rules: Sequence[GateRule], changes: Sequence[CaseChange]) -> tuple[GateResult, ...]:
    """Every rule against the cases it covers; the last of a metric's rules that covers a case decides there.

    A limit is broken if the metric is judged worse and the whole interval lies beyond the limit; a case that is
    unclear, or whose interval contains the limit, never fails a gate.
    """
    decided: list[list[CaseChange]] = [[] for _ in rules]
    for change in changes:
        last = {rule.metric: position for position, rule in enumerate(rules) if rule.covers(change)}
        for position in last.values():
            decided[position].append(change)
    return tuple(_check(rule, covered) for rule, covered in zip(rules, decided, strict=True))


def _check(rule: GateRule, changes: Sequence[CaseChange]) -> GateResult:
    if rule.metric == "status":
        broken = tuple(each for each in changes if _end(each.reference) == "ok" and _end(each.candidate) in rule.no_new)
        outcome = _outcome(broken, (), len(changes))
        return GateResult(rule, outcome, next(iter(broken), None), broken, (), tuple(changes))
    covered = tuple(change for change in changes if rule.metric in change.changes)
    failures = tuple(change for change in covered if _breaks(rule, change.changes[rule.metric]))
    unclear = tuple(change for change in covered if change.changes[rule.metric].judgement == "unclear")
    worst = max(covered, key=lambda change: regression_of(change, rule.metric), default=None)
    return GateResult(rule, _outcome(failures, unclear, len(covered)), worst, failures, unclear, covered)


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
    return (found.value if found.low is None else found.low) > rule.max_regression


def confirm(results: Sequence[GateResult], fresh: Sequence[CaseChange], rounds: int) -> tuple[GateResult, ...]:
    """The same rules after `rounds` fresh rounds of the cases that failed, judged on those alone.

    The rounds that drew attention are biased towards alarm and are not used again. A case fails only if its fresh
    rounds break the limit as well; one that could not be measured again is `unclear`.
    """
    again = {(change.measured.kind, change.case_id): change for change in fresh}
    return tuple(_confirmed(result, again, rounds) if result.failures else result for result in results)


def _confirmed(result: GateResult, again: Mapping[tuple[str, str], CaseChange], rounds: int) -> GateResult:
    metric = result.rule.metric
    measured, missing = [], []
    for change in result.failures:
        fresh = again.get((change.measured.kind, change.case_id))
        if fresh is not None:
            measured.append(fresh)
        if fresh is None or (metric != "status" and metric not in fresh.changes):
            missing.append(change)
    checked = _check(result.rule, measured)
    not_kept = {change.case_id for change in (*checked.failures, *checked.unclear, *missing)}
    unclear = (*result.unclear, *checked.unclear, *missing)
    return replace(
        result,
        outcome=_outcome(checked.failures, unclear, result.num_cases),
        worst=checked.worst if checked.failures else result.worst,
        failures=checked.failures,
        unclear=unclear,
        confirmation=Confirmation(rounds, tuple(change for change in measured if change.case_id not in not_kept)),
    )


def limit_rules(cases: Iterable[ComparableCase]) -> tuple[GateRule, ...]:
    """Rules of the limits that a source declares for single cases; put last, they decide for theirs."""
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


def exit_status(results: Iterable[GateResult], changes: Iterable[CaseChange] = ()) -> ExitStatus:
    """`GATE_FAILED` if any rule failed, else `CASE_FAILED` if the candidate crashed or ran out of time, else `OK`.

    One crashed launch is enough, even if others gave a figure. `unclear` is shown and is no failure; running out of
    memory is a result, which a gate on `status` may forbid.
    """
    if any(result.outcome == "fail" for result in results):
        return ExitStatus.GATE_FAILED
    crashed = any(change.candidate is not None and change.candidate.num_crashed for change in changes)
    return ExitStatus.CASE_FAILED if crashed else ExitStatus.OK
