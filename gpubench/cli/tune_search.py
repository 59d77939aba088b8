"""The search of `gpubench tune`: what to measure next, from what has been measured."""

from collections.abc import Sequence

from gpubench.analysis.tuning.tuned_run import TunedRun
from gpubench.core.records import ContestRecord, Record
from gpubench.runner.contest.groups import process_groups
from gpubench.runner.tuning import TuneStep
from gpubench.store.run_info import PlannedCase, TuneGoal
from gpubench.suite.cases.expand import ACCURACY_FOLLOWS, expand, quality_cases
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Suite


class TuneSearch:
    """Chooses the steps of a search for `goal` over the cases of `suite`."""

    def __init__(self, suite: Suite, goal: TuneGoal) -> None:
        self._suite, self._goal = suite, goal
        self._cases = expand(suite).cases
        self._groups = process_groups(self._cases)
        self._trained = quality_cases(suite, self._cases)

    def __call__(
        self,
        planned: Sequence[PlannedCase],
        records: Sequence[Record],
        contests: Sequence[ContestRecord],
        left_s: float | None,
    ) -> TuneStep | None:
        """The next step, with `left_s` seconds left (None: no limit); None when the search is over."""
        tuned = self.tuned(planned, records, contests)
        ask = tuned.next(left_s)
        if ask is not None:
            launch, contest = (
                tuple(self._cases[point].case_id for point in points) for points in (ask.launch, ask.contest)
            )
            return TuneStep(launch, contest, repeat=ask.repeat, twin=ask.stage == "final")
        if tuned.start is None:
            return None
        done = {case.case_id for case in planned if case.kind == "quality"}
        ends = [tuned.cases[point] for point in (tuned.start, tuned.best)]
        trained = [each.case_id for case in ends for each in self._trained_for(case)]
        wanted = tuple(dict.fromkeys(f"quality {each}" for each in trained if each not in done))
        return TuneStep(train=wanted) if wanted else None

    def tuned(
        self, planned: Sequence[PlannedCase], records: Sequence[Record], contests: Sequence[ContestRecord]
    ) -> TunedRun:
        """The search so far; settings that lose accuracy are ruled out."""
        found = TunedRun(self._cases, self._groups, self._goal.objective, planned, records, contests)
        lost = self._lost(found, planned, records)
        if not lost:
            return found
        return TunedRun(self._cases, self._groups, self._goal.objective, planned, records, contests, rejected=lost)

    def accuracy(self, case: Case, planned: Sequence[PlannedCase], records: Sequence[Record]) -> float | None:
        """The score on the test split of the quality runs for a case; None if unknown."""
        wanted = {each.case_id for each in self._trained_for(case)}
        indices = {each.index for each in planned if each.kind == "quality" and each.case_id in wanted}
        found = [record.quality.score for record in records if record.case_index in indices and record.quality]
        return sum(found) / len(found) if found else None

    def _trained_for(self, case: Case) -> list[Case]:
        """The quality runs that stand for a case; none without `--quality`."""
        return [
            each
            for mine in quality_cases(self._suite, [case])
            for each in self._trained
            if all(getattr(each, name) == getattr(mine, name) for name in ACCURACY_FOLLOWS)
        ]

    def _lost(self, found: TunedRun, planned: Sequence[PlannedCase], records: Sequence[Record]) -> list[str]:
        """Ids of cases whose precision loses more accuracy than the suite allows."""
        if self._suite.quality is None or found.start is None:
            return []
        base = self.accuracy(found.cases[found.start], planned, records)
        if base is None:
            return []
        sign = -1 if any(each.quality and each.quality.score_better == "lower" for each in records) else 1
        least = sign * base - self._suite.quality.max_accuracy_drop
        lost: dict[str, bool] = {}
        for case in found.cases:
            if case.precision not in lost:
                mine = self.accuracy(case, planned, records)
                lost[case.precision] = mine is not None and sign * mine < least
        return [case.case_id for case in found.cases if lost[case.precision]]
