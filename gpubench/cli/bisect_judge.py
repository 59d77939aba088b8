"""A judgement of `gpubench bisect`: an A/B run of two commits."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpubench.analysis.compare.compare_sides import COMPARED, compare_sides
from gpubench.analysis.compare.run_sides import arm_sides
from gpubench.cli.bisect_search import CommitsCompared, SearchStopped, judge_settings, name_of
from gpubench.cli.run_arms import AskedArms
from gpubench.cli.standing_verdicts import Verdicts
from gpubench.core.errors import UsageError
from gpubench.runner.arms.arm import Arm, make_arm
from gpubench.runner.events import Event, Listener, RoundFinished
from gpubench.runner.run import RunRequest, start
from gpubench.runner.run_session import Decisions
from gpubench.store.bisection_file import Commit, StoredBisection
from gpubench.store.run_reader import load_run
from gpubench.suite.load import LoadedSuite
from gpubench.suite.read.arm_text import parse_arm

Show = Callable[[str], None]


class ArmJudge:
    """Measures two commits of the repository, in runs inside `folder`, until they are decided.

    After `until_s` (of `time.monotonic`) no judgement begins. `show` gets progress messages.
    """

    def __init__(self, loaded: LoadedSuite, folder: Path, show: Show, until_s: float | None = None) -> None:
        self._loaded, self._folder, self._show, self._until_s = loaded, folder, show, until_s

    def __call__(self, state: StoredBisection, commit: int, against: int | None) -> CommitsCompared:
        """UsageError if the reference commit, or the repository itself, cannot be measured."""
        what = f"{name_of(state, commit)} against {'the good commit' if against is None else name_of(state, against)}"
        self._show(what)
        reference = state.good if against is None else state.commits[against]
        self._left_s()  # asked again after the installation, which takes minutes
        try:
            candidate = _arm_of(state.commits[commit])
        except UsageError as error:
            return CommitsCompared(None, skipped=str(error).partition(": ")[2])
        arms = (_arm_of(reference), candidate)
        asked = AskedArms(rounds=state.rounds, sesoi=state.sesoi)
        request = RunRequest(
            self._loaded,
            argv=("gpubench", *sys.argv[1:]),
            selection=state.selection if state.case_id is None else None,
            cases=() if state.case_id is None else (state.case_id,),
            store=self._folder,
        )
        request = replace(request, **asked.fields(self._loaded, len(request.wanted()), arms), budget_s=self._left_s())
        settings = judge_settings(state)
        verdicts = Verdicts([arm.name for arm in arms], request.rounds or state.rounds, settings, request.screen_rounds)
        outcome = start(request, self._listener(what, verdicts), Decisions(settled=verdicts))
        if outcome.interrupted:
            raise KeyboardInterrupt
        self._left_s()
        run = load_run(outcome.folder)
        first, (second,) = arm_sides(run)
        metrics = COMPARED if state.metric is None else (state.metric,)
        compared = compare_sides(first, second, metrics, settings)
        return CommitsCompared(run.info.run, compared.changes, folder=outcome.folder)

    def _left_s(self) -> float | None:
        """Seconds of the budget; `SearchStopped` if there are none."""
        left_s = None if self._until_s is None else self._until_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise SearchStopped("the time budget is used up")
        return left_s

    def _listener(self, what: str, verdicts: Verdicts) -> Listener:
        def listen(event: Event) -> None:
            if isinstance(event, RoundFinished):
                self._show(f"{what}: {'; '.join(map(str, verdicts.of(event.case))) or f'round {event.number}'}")

        return listen


def _arm_of(commit: Commit) -> Arm:
    return make_arm(parse_arm(f"{commit.commit[:10]}=git={commit.commit[:12]}"))
