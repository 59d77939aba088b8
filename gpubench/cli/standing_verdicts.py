"""Verdicts in progress: judges the arms of a run between its rounds, and describes their standing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpubench.analysis.compare.case_changes import MetricChange
    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.analysis.verdict.judge import Comparison
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.core.records import Record
    from gpubench.report.model.report_model import Tone
    from gpubench.store.run_info import PlannedCase

SEQUENTIAL_ROUNDS = 24
SCREEN_ROUNDS = 10
CONFIRM_ROUNDS = 10
MANY_CASES = 16
"""Most cases that are judged one by one: with more, false alarms (0.3 % each) would exceed 5 % in total."""

_TRIES = 3
_TONES: "dict[str, Tone]" = {"slower": "bad", "faster": "good", "same": "plain"}


@dataclass(frozen=True)
class Standing:
    """One arm against the reference in one case. `verdict` None: not settled yet. `found` is the estimate so far.

    `why` says why there is none, or when the next look is.
    """

    arm: str
    reference: str
    verdict: str | None
    found: "Comparison | None"
    rounds: int
    why: str = ""
    metric: str = "throughput"

    def __str__(self) -> str:
        """`head vs base throughput -3.1% (-4.0, -2.2) slower, round 10`: the change as in the final table."""
        from gpubench.analysis.compare.case_changes import ratio_change
        from gpubench.core.metrics import METRICS
        from gpubench.report.comparison.change_cells import change_text, metric_title

        parts = [f"{self.arm} vs {self.reference}"]
        if self.found is not None and math.isfinite(self.found.ratio):
            moved = ratio_change(METRICS[self.metric], self.found)
            parts.append(f"{metric_title(self.metric)} {change_text(moved)}")
        tail = f" ({self.why})" if self.why else ""
        return f"{' '.join(parts)} {self.verdict or 'undecided'}, round {self.rounds}{tail}"

    @property
    def tone(self) -> "Tone":
        return _TONES.get(self.verdict or "", "muted")


class Verdicts:
    """Decides after each round whether a case needs more, and remembers the standing of its arms.

    A case is judged at the planned looks only. In a screened run it gets `screen_rounds`, and the rest if it then looks
    changed; those cases are judged together at the end.
    """

    def __init__(
        self, arms: Sequence[str], most_rounds: int, settings: "CompareSettings", screen_rounds: int | None = None
    ) -> None:
        self._reference, *self._others = arms
        self._most, self._screen = most_rounds, screen_rounds
        self._settings = settings
        self._standings: dict[int, tuple[Standing, ...]] = {}

    def __call__(self, case: "PlannedCase", records: "tuple[Record, ...]") -> bool:
        from gpubench.analysis.summary.run_summary import summarise_case

        of = {
            arm: summarise_case(case, [record for record in records if record.arm == arm], ())
            for arm in (self._reference, *self._others)
        }
        standings = tuple(self._standing(arm, of[self._reference], of[arm]) for arm in self._others)
        self._standings[case.index] = standings
        return all(each.verdict is not None for each in standings)

    def of(self, case: "PlannedCase") -> tuple[Standing, ...]:
        """The verdict on every arm but the reference, in this case."""
        return self._standings.get(case.index, ())

    def _standing(self, arm: str, before: "CaseSummary", after: "CaseSummary") -> Standing:
        from gpubench.analysis.compare.case_changes import compare_metric
        from gpubench.core.metrics import METRICS

        spec = METRICS[before.speed_metric]
        moved = compare_metric(spec, before, after, self._settings, interleaved=True)
        tries = max((record.repeat for record in (*before.records, *after.records)), default=0)
        if moved.comparison is None:
            return self._without(arm, moved, tries)
        from gpubench.analysis.compare.case_changes import round_log_ratios

        logs = list(round_log_ratios(spec, before, after)[0].values())
        if not logs:
            return self._without(arm, moved, tries)
        found = self._screened(arm, logs) if self._screen is not None else self._sequential(arm, logs)
        return replace(found, metric=spec.name)

    def _without(self, arm: str, moved: "MetricChange", tries: int) -> Standing:
        """The standing if no round can be compared: final at once if none ever can, else after some tries."""
        hopeless = not moved.reason.startswith("not measured") or tries >= _TRIES
        return Standing(arm, self._reference, "unclear" if hopeless else None, None, tries, moved.reason)

    def _sequential(self, arm: str, logs: Sequence[float]) -> Standing:
        from gpubench.analysis.verdict.interleaved_rounds import SequentialComparison

        judged = SequentialComparison(self._settings)
        for log in logs:
            judged.add_round([1.0], [math.exp(log)])
        found, why = judged.result, ""
        over = judged.verdict is not None or len(logs) >= self._most
        if not over:
            why = f"looked at after {self._next_look(len(logs))}"
        elif found.verdict == "unclear" and found.rounds_needed is not None:
            why = f"{found.rounds_needed} would tell"
        return Standing(arm, self._reference, found.verdict if over else None, found, found.rounds, why)

    def _next_look(self, rounds: int) -> int:
        planned = [look.rounds for look in self._settings.schedule() if look.rounds > rounds]
        return min([*planned, self._most], key=lambda at: (at < rounds, at))

    def _screened(self, arm: str, logs: Sequence[float]) -> Standing:
        from gpubench.analysis.compare.compare_sides import looks_changed
        from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios

        assert self._screen is not None
        rounds = len(logs)
        fresh = logs[self._screen :]
        found = compare_log_ratios(fresh or logs, self._settings)
        if rounds < self._screen:
            return Standing(arm, self._reference, None, found, rounds, f"screened after {self._screen}")
        if rounds > self._screen or looks_changed(logs, self._settings):
            return Standing(
                arm, self._reference, None, found, rounds, "looks changed: judged on its fresh rounds, at the end"
            )
        word = found.verdict if found.verdict == "same" else "unclear"
        return Standing(arm, self._reference, word, found, rounds)
