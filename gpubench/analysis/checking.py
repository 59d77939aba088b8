"""The gate as a whole: rules, their outcome on a comparison, and the exit status that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubench.analysis.changes import CaseChange
from gpubench.analysis.comparing import Compared
from gpubench.analysis.gate import STATUSES, GateResult, GateRule, check_gates, confirm, exit_status
from gpubench.core.errors import ExitStatus, UsageError

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
    """`declared` False: the suite declares no gates, and the usual ones stood in. `accepted` is the reason given for it.

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


def check(
    compared: Compared,
    rules: Sequence[GateRule],
    *,
    declared: bool,
    rounds: int = 0,
    remeasure: Remeasure | None = None,
) -> Checked:
    """Judge a comparison. With `rounds`, cases that break a limit are measured again by `remeasure` before they fail.

    UsageError where no rule met a case with its metric: a gate that checks nothing must not pass.
    """
    results = check_gates(rules, compared.changes)
    if not declared:
        results = tuple(result for result in results if result.outcome != "no data")
    if all(result.outcome == "no data" for result in results):
        wanted = ", ".join(dict.fromkeys(rule.metric for rule in rules))
        raise UsageError(
            f"nothing was checked: no case of {compared.candidate.name} has {wanted} on both sides",
            hint="`gpubench list metrics` names what is measured; --gate METRIC=LIMIT chooses.",
        )
    failing = {id(change): change for result in results for change in result.failures}
    if not rounds or not failing or remeasure is None:
        return Checked(compared, results, declared)
    fresh = remeasure(tuple(failing.values()), rounds)
    return Checked(compared, confirm(results, fresh.changes, rounds), declared, fresh)
