"""The gate as a whole: rules, their outcome on a comparison, and the exit status that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.analysis.compare.compare_sides import Compared
from gpubench.analysis.gate.gate_rules import STATUSES, GateResult, GateRule, check_gates, confirm, exit_status
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.analysis.verdict.not_interleaved import MIN_LAUNCHES
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.core.metrics import METRICS

LIMIT = 0.03
STANDING_IN = (
    *(GateRule(name, LIMIT) for name in ("throughput", "latency_s", "peak_memory_allocated_bytes")),
    GateRule("status", no_new=tuple(name for name in STATUSES if name != "unsupported")),
)
"""Rules of a suite that declares none."""

STANDING_IN_STEPS = (GateRule("step_time_s", LIMIT), GateRule("peak_memory_allocated_bytes", LIMIT))
"""The same for files of pytest-benchmark."""

Remeasure = Callable[[Sequence[CaseChange], int], Compared]
"""Measures cases again for so many fresh rounds, and compares them as before."""


@dataclass(frozen=True)
class Checked:
    """`declared` False: the suite declares no gates, and the usual ones stood in. `accepted` is the reason given for
    it.

    `written` is the baseline that was written, if any.
    """

    compared: Compared
    results: tuple[GateResult, ...]
    declared: bool
    fresh: Compared | None = None
    accepted: str | None = None
    written: Path | None = None

    @property
    def verdict(self) -> ExitStatus:
        """What the gates and the cases say, whatever was accepted."""
        return exit_status(self.results, self.compared.changes)

    @property
    def status(self) -> ExitStatus:
        """The exit status: a failed gate that was accepted is no failure."""
        accepted = self.accepted is not None and self.verdict is ExitStatus.GATE_FAILED
        return exit_status((), self.compared.changes) if accepted else self.verdict


def metrics_of(rules: Sequence[GateRule]) -> tuple[str, ...]:
    """What the rules need compared."""
    return tuple(dict.fromkeys(rule.metric for rule in rules if rule.metric != "status"))


def settings_for(rules: Sequence[GateRule], sesoi: float) -> CompareSettings:
    """How to judge for these rules. What is below half of the smallest effect of interest counts as the same, whatever
    its interval: a limit below that needs a smaller one, twice the limit. A limit of 0 leaves `sesoi` as it is.
    """
    limits = [rule.max_regression for rule in rules if rule.max_regression and _is_ratio(rule)]
    return CompareSettings(sesoi=min([sesoi, *(2 * limit for limit in limits)]))


def _is_ratio(rule: GateRule) -> bool:
    """Whether the rule's metric is judged by an interval of its ratio."""
    spec = METRICS.get(rule.metric)
    return spec is not None and spec.scale == "ratio" and spec.summarise != "max"


def _least_rounds(rule: GateRule, compared: Compared) -> int:
    """Fresh rounds below which nothing can be said of the rule's metric, so that every failure of it would be taken
    back.
    """
    spec = METRICS.get(rule.metric)
    if spec is None or spec.summarise == "max":
        return 1
    if spec.scale == "difference":
        return 2
    if compared.interleaved:
        return compared.settings.schedule()[0].rounds
    return MIN_LAUNCHES if compared.allow_unpaired else 1


def _refuse_misnamed(rules: Sequence[GateRule], compared: Compared) -> None:
    """UsageError for a rule that names cases and meets none, unless another one limits the same metric everywhere."""
    general = {rule.metric for rule in rules if not rule.cases and not rule.where}
    for rule in rules:
        if rule.cases and rule.metric not in general and not any(map(rule.covers, compared.changes)):
            raise UsageError(
                f"gate {rule}: there is no such case",
                hint="What stands behind the `@` must match a case of either side; a limit on nothing would always be kept.",
            )


def _refuse_too_few(rules: Sequence[GateRule], compared: Compared, rounds: int) -> None:
    """UsageError where so few fresh rounds could confirm nothing."""
    least, metric = max((_least_rounds(rule, compared), rule.metric) for rule in rules)
    if rounds < least:
        raise UsageError(
            f"{rounds} fresh round{'s' if rounds > 1 else ''} can confirm no failure of {metric}: it takes at least {least} to judge it",
            hint=f"--confirm {max(least, 10)} is a good choice; without --confirm a failure counts as it is.",
        )


def check(
    compared: Compared,
    rules: Sequence[GateRule],
    *,
    declared: bool,
    rounds: int = 0,
    remeasure: Remeasure | None = None,
) -> Checked:
    """Judge a comparison. With `rounds`, cases that break a limit are measured again by `remeasure` before they fail.

    UsageError where the only rules of a metric name cases that are not there, where no rule met a case with its metric
    (a gate that checks nothing must not pass), and for so few `rounds` that a failure could not be judged again.
    """
    _refuse_misnamed(rules, compared)
    results = check_gates(rules, compared.changes)
    if not declared:
        results = tuple(result for result in results if result.outcome != "no data")
    if all(result.outcome == "no data" for result in results):
        wanted = ", ".join(dict.fromkeys(rule.metric for rule in rules))
        raise UsageError(
            f"nothing was checked: no case of {compared.candidate.name} has {wanted} on both sides",
            hint="`gpubench list metrics` names what is measured; --gate METRIC=LIMIT chooses.",
        )
    if rounds:
        _refuse_too_few([result.rule for result in results if result.outcome != "no data"], compared, rounds)
    failing = {id(change): change for result in results for change in result.failures}
    if not rounds or not failing or remeasure is None:
        return Checked(compared, results, declared)
    fresh = remeasure(tuple(failing.values()), rounds)
    return Checked(compared, confirm(results, fresh.changes, rounds), declared, fresh)
