"""Whole searches for a slow commit, with known answers and the rules of a real one."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpubench.analysis.compare.case_changes import CaseChange, ratio_change
from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios
from gpubench.cli.bisect_search import CommitsCompared, answer, judge_settings, search
from gpubench.core.errors import UsageError
from gpubench.core.metrics import METRICS
from gpubench.store.bisection_file import Commit, StoredBisection

if TYPE_CHECKING:
    import numpy as np

COMMITS = 128
SLOWER = 0.02
SPREADS = (0.005, 0.01)
"""Standard deviation of a launch's log step time."""

MOST_JUDGEMENTS = 12


@dataclass(frozen=True)
class SearchCounts:
    """Of `searches` with launches that vary by `spread`: how many named the right commit, alone and confirmed by a
    comparison with the one before it; how many named a wrong one; judgements and rounds per search.
    """

    spread: float
    searches: int
    right: int
    wrong: int
    within: int
    judgements: float
    rounds: float


class _Simulated:
    """A judge whose rounds are drawn: commits from `first_slow` on are slower."""

    def __init__(self, first_slow: int, spread: float, rng: "np.random.Generator") -> None:
        self._first_slow, self._spread, self._rng = first_slow, spread, rng
        self.asked = self.rounds = 0

    def __call__(self, state: StoredBisection, commit: int, against: int | None) -> CommitsCompared:
        before = against is not None and against >= self._first_slow
        effect = math.log1p(SLOWER) if commit >= self._first_slow and not before else 0.0
        logs = effect + self._rng.normal(0, self._spread * math.sqrt(2), state.rounds)
        found = compare_log_ratios([float(value) for value in logs], judge_settings(state))
        self.asked, self.rounds = self.asked + 1, self.rounds + found.rounds
        moved = ratio_change(METRICS["throughput"], found)
        return CommitsCompared("run", (CaseChange("case", "case", "measured", None, None, {moved.metric: moved}),))


def run_searches(spread: float, searches: int, seed: int) -> SearchCounts:
    """One of 128 commits is 2 % slower. `within`: searches that found it in at most 12 judgements, all included."""
    import numpy as np

    rng = np.random.default_rng([seed, round(spread * 1e4)])
    commits = [Commit(commit=f"{number:040x}", subject="", author="", date="") for number in range(COMMITS + 1)]
    begun = StoredBisection(
        created="",
        folder="",
        suite="",
        metric="throughput",
        sesoi=SLOWER,
        rounds=24,
        good=commits[0],
        commits=tuple(commits[1:]),
    )
    right = wrong = within = judgements = rounds = 0
    for _ in range(searches):
        first_slow = int(rng.integers(COMMITS))
        judge = _Simulated(first_slow, spread, rng)
        with suppress(UsageError):  # the last commit does not look worse than the good one, so nothing is named
            found = answer(search(begun, judge, lambda _: None))
            correct = found.found and found.suspects.last == first_slow
            right, wrong = right + correct, wrong + (found.found and not correct)
            within += correct and judge.asked <= MOST_JUDGEMENTS
        judgements, rounds = judgements + judge.asked, rounds + judge.rounds
    return SearchCounts(spread, searches, right, wrong, within, judgements / searches, rounds / searches)


def render_searches(counts: list[SearchCounts]) -> str:
    """A Markdown table."""
    lines = [
        "| launches vary by | right commit | wrong commit | right in at most 12 judgements | judgements | rounds |",
        "| --- |" + " ---: |" * 5,
    ]
    for each in counts:
        shares = (f"{number / each.searches:.1%}" for number in (each.right, each.wrong, each.within))
        lines.append(f"| {each.spread:.1%} | {' | '.join(shares)} | {each.judgements:.1f} | {each.rounds:.0f} |")
    return "\n".join(lines)
