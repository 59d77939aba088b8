"""Applies the rules of a gate to a comparison, and decides the exit status."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.analysis.compare.compare_sides import Compared
from gpubench.analysis.gate.gate_rules import (
    STATUSES,
    GateResult,
    GateRule,
    OnUnclear,
    check_gates,
    confirm,
    exit_status,
)
from gpubench.analysis.summary.case_summary import CaseSummary, ComparableCase
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.not_interleaved import MIN_LAUNCHES
from gpubench.core.did_you_mean import near
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.core.metrics import METRICS
from gpubench.core.records import CRASHED, Status

LIMIT = 0.03
DEFAULT_RULES = (
    *(GateRule(name, LIMIT) for name in ("throughput", "latency_s", "peak_memory_allocated_bytes")),
    GateRule("status", no_new=tuple(name for name in STATUSES if name != "unsupported")),
)
"""Default rules, for a suite that declares none."""

DEFAULT_FILE_RULES = (GateRule("step_time_s", LIMIT), GateRule("peak_memory_allocated_bytes", LIMIT))
"""Default rules for files of pytest-benchmark."""

_UNMEASURED: dict[OnUnclear | None, ExitStatus] = {None: ExitStatus.USAGE, "fail": ExitStatus.GATE_FAILED}

Remeasure = Callable[[Sequence[CaseChange], int], Compared]
"""Measures cases again for a number of fresh rounds, and compares them as before."""


@dataclass(frozen=True)
class Checked:
    """A checked comparison. `declared` False: no gates were declared, the default ones were used.

    `accepted` is the reason given to `--accept`, `written` the baseline that was written. `on_unclear`: how to treat
    undecided gates, None if the user did not say.
    """

    compared: Compared
    results: tuple[GateResult, ...]
    declared: bool
    fresh: Compared | None = None
    accepted: str | None = None
    written: Path | None = None
    on_unclear: OnUnclear | None = None

    @property
    def verdict(self) -> ExitStatus:
        """The exit status of gates and cases, ignoring `--accept`."""
        fresh = () if self.fresh is None else self.fresh.changes
        crashed_again = tuple(change for change in fresh if change.candidate and change.candidate.num_crashed)
        found = exit_status(self.results, (*self.compared.changes, *crashed_again), self.on_unclear)
        only_statuses = self.declared and all(result.rule.metric == "status" for result in self.results)
        judged = found not in (ExitStatus.OK, ExitStatus.USAGE) or only_statuses or self.on_unclear is not None
        if not judged and self.crashed_side:
            return ExitStatus.CASE_FAILED if self.compared.reference.source == "arm" else ExitStatus.USAGE
        if found is ExitStatus.OK and self.unmeasured:
            return _UNMEASURED.get(self.on_unclear, ExitStatus.OK)
        return found

    @property
    def unmeasured(self) -> tuple[CaseChange, ...]:
        """Cases that should have been judged but lack a launch: it was lost or never made, or only the reference could
        run them. Cases that neither side could run here, or that only the candidate has, are not among them.
        """
        arms = self.compared.reference.source == "arm"
        return tuple(change for change in self.compared.changes if _unmeasured(change, arms=arms))

    @property
    def crashed_side(self) -> str:
        """`every launch of base crashed: segmentation fault` if a side has no figures at all; else empty."""
        return crashed_side(self.compared)

    @property
    def status(self) -> ExitStatus:
        """The exit status; with `--accept`, a gate that failed or could not be judged is no failure."""
        accepted = self.accepted is not None and self.verdict in (ExitStatus.GATE_FAILED, ExitStatus.USAGE)
        return exit_status((), self.compared.changes) if accepted else self.verdict

    @property
    def num_without_data(self) -> int:
        """Cases under a gate that no gate could judge, because one side did not measure them."""
        covered = {id(change) for result in self.results for change in result.covered}
        return len({id(change) for result in self.results for change in result.no_data} - covered)


def _unmeasured(change: CaseChange, *, arms: bool) -> bool:
    before, after = change.reference, change.candidate
    if before is None or after is None:
        return False
    one_side = before.status is Status.OK and after.status is Status.SKIPPED
    other_side = arms and before.status is Status.SKIPPED and after.status is Status.OK
    if isinstance(after, CaseSummary):
        lost = isinstance(before, CaseSummary) and before.has_no_launch
        return one_side or other_side or lost or after.has_no_launch
    return one_side or other_side or _was_timed(before) != _was_timed(after)


def _was_timed(case: ComparableCase) -> bool:
    return any(value > 0 for value in case.launch_values("step_time_s").values())


def crashed_side(compared: Compared) -> str:
    """Why there is nothing to compare, if all cases of a side crashed or ran out of time; else empty."""
    common = [change for change in compared.changes if change.reference is not None and change.candidate is not None]
    candidates, references = [change.candidate for change in common], [change.reference for change in common]
    for side, cases in ((compared.candidate, candidates), (compared.reference, references)):
        ends = [(case.status, case.reason) for case in cases if case is not None]
        if ends and all(status in CRASHED for status, _ in ends):
            reason = next((reason for _, reason in ends if reason), "")
            return f"every launch of {side.name} crashed{f': {reason}' if reason else ''}"
    return ""


def metrics_of(rules: Sequence[GateRule]) -> tuple[str, ...]:
    """The metrics to compare for these rules."""
    return tuple(dict.fromkeys(rule.metric for rule in rules if rule.metric != "status"))


def settings_for(rules: Sequence[GateRule], sesoi: float) -> CompareSettings:
    """The comparison settings for these rules.

    Ratios below half of the smallest effect of interest count as the same, so a limit below that lowers it to twice the
    limit. A limit of 0 does not change `sesoi`.
    """
    smallest = sesoi
    for rule in rules:
        spec = METRICS.get(rule.metric)
        if rule.max_regression and spec is not None and spec.scale == "ratio" and spec.summarise != "max":
            smallest = min(smallest, 2 * rule.max_regression)
    return CompareSettings(sesoi=smallest)


def _least_rounds(rule: GateRule, compared: Compared) -> int:
    """The fewest fresh rounds that can judge the rule's metric; with fewer, no failure could be confirmed."""
    spec = METRICS.get(rule.metric)
    if spec is None or spec.summarise == "max":
        return 1
    if spec.scale == "difference":
        return 2
    if compared.interleaved:
        return compared.settings.schedule()[0].rounds
    return MIN_LAUNCHES if compared.allow_unpaired else 1


def check(
    compared: Compared,
    rules: Sequence[GateRule],
    *,
    declared: bool,
    rounds: int = 0,
    remeasure: Remeasure | None = None,
    on_unclear: OnUnclear | None = None,
) -> Checked:
    """Judge a comparison. With `rounds`, cases that break a limit are measured again by `remeasure` before they fail.

    UsageError if a rule given by the user found no case with its metric, if no rule did (a gate that checks nothing
    must not pass), and if `rounds` are too few to judge a failure again.
    """
    results = check_gates(rules, compared.changes)
    crashed = crashed_side(compared)
    for result in results:
        explained = crashed and any(map(result.rule.covers, compared.changes))
        if result.rule.named and result.outcome == "no data" and not explained:
            raise _without_data(result.rule, compared)
    if not declared:
        results = tuple(result for result in results if result.outcome != "no data")
    if not any(result.covered for result in results) and not crashed:
        wanted = ", ".join(dict.fromkeys(rule.metric for rule in rules))
        raise UsageError(
            f"nothing was checked: no case of {compared.candidate.name} has {wanted} on both sides",
            hint="`gpubench list metrics` names what is measured; --gate METRIC=LIMIT chooses.",
        )
    judged = [result.rule for result in results if result.covered]
    least, metric = max(((_least_rounds(rule, compared), rule.metric) for rule in judged), default=(0, ""))
    if 0 < rounds < least:
        plural = "s" if rounds > 1 else ""
        raise UsageError(
            f"{rounds} fresh round{plural} cannot confirm a failure of {metric}: judging it takes at least {least}",
            hint=f"--confirm {max(least, 10)} is a good choice; without --confirm a failure counts as it is.",
        )
    failing = {id(change): change for result in results for change in result.failures}
    if not rounds or not failing or remeasure is None:
        return Checked(compared, results, declared, on_unclear=on_unclear)
    fresh = remeasure(tuple(failing.values()), rounds)
    return Checked(compared, confirm(results, fresh.changes, rounds), declared, fresh, on_unclear=on_unclear)


def _without_data(rule: GateRule, compared: Compared) -> UsageError:
    """The error for a user's gate that matches no case, or none with the metric on both sides."""
    if not any(map(rule.covers, compared.changes)):
        meant = near(rule.cases, {change.label for change in compared.changes})
        hint = meant or "the expression after `@` must match a case of either side"
        return UsageError(f"gate {rule}: there is no such case", hint=f"{hint[:1].upper()}{hint[1:]}")
    if rule.metric == "status":
        why = f"no case of {compared.candidate.name} was run on both sides"
    else:
        why = f"no case of {compared.candidate.name} has {rule.metric} on both sides"
    hint = (
        "`gpubench show RUN:CASE` shows what a case measured, and why the rest is missing. Otherwise remove the gate."
    )
    return UsageError(f"gate {rule}: nothing to judge, {why}", hint=hint)
