"""The search of `gpubench bisect`: which commit to judge next, and what each judgement means."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log1p
from pathlib import Path

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.verdict.bisection import Bisection, Suspects
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.core.errors import UsageError
from gpubench.report.comparison.change_cells import change_text, metric_title
from gpubench.stats.estimators import Location
from gpubench.store.bisection_file import Judgement, LogEffect, StoredBisection

Judge = Callable[[StoredBisection, int, int | None], "CommitsCompared"]
"""Measures commit number b against number a (None: the good one). May raise `SearchStopped`."""

Keep = Callable[[StoredBisection], None]
"""Called with the state after every judgement, to store it."""


LOOKS = (10, 16, 24)
"""Rounds at which a judgement may end: later than for a single verdict, because fewer but surer judgements cost
less.
"""


class SearchStopped(Exception):  # noqa: N818 - not an error: what was judged is kept
    """The search stopped before its answer; `str()` says why."""


@dataclass(frozen=True)
class CommitsCompared:
    """A measured judgement: the change of every case, from the run of this name, in `folder`; `skipped` says why there
    is none.
    """

    run: str | None
    changes: tuple[CaseChange, ...] = ()
    skipped: str | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class SearchAnswer:
    """The state of a search. `confirmed` is the judgement of the suspects against the commit before them."""

    suspects: Suspects
    confirmed: Judgement | None
    total: Judgement

    @property
    def found(self) -> bool:
        """Whether it is a single commit that is worse than the one before it."""
        one = self.suspects.first == self.suspects.last
        return one and self.confirmed is not None and self.confirmed.judgement == "worse"


def judge_settings(state: StoredBisection) -> CompareSettings:
    """The comparison settings of each judgement."""
    return CompareSettings(sesoi=state.sesoi, looks=LOOKS, max_rounds=state.rounds)


def search(state: StoredBisection, judge: Judge, keep: Keep) -> StoredBisection:
    """Judges commits until one is found, or the remaining ones cannot be told apart. Returns the finished state.

    UsageError if the last commit is not worse than the good one. `SearchStopped` is passed on; what was kept can be
    continued.
    """
    if not state.judgements:
        state = _first(state, judge)
        keep(state)
    _check_worse(state)
    while (asked := next_question(state)) is not None:
        commit, against = asked
        judged = judge(state, commit, against)
        state = _with(state, _judgement(state, judged, commit, against))
        keep(state)
    return state


def answer(state: StoredBisection) -> SearchAnswer:
    """The answer so far; needs the judgement of the last commit."""
    suspects = _replayed(state).answer()
    return SearchAnswer(suspects, _between(state, suspects), state.judgements[0])


def num_left(state: StoredBisection) -> int:
    """The fewest commits with nine tenths of the probability."""
    return _replayed(state).num_left()


def next_question(state: StoredBisection) -> tuple[int, int | None] | None:
    """Commit and reference of the next judgement. The last one compares the suspects with the commit before them."""
    found = _replayed(state)
    commit = found.question()
    if commit is not None:
        return commit, None
    suspects = found.answer()
    if _between(state, suspects) is not None:
        return None
    return suspects.last, suspects.first - 1 if suspects.first else None


def _first(state: StoredBisection, judge: Judge) -> StoredBisection:
    """Judges the last commit against the good one in every case; the search follows the worst case."""
    last = len(state.commits) - 1
    judged = judge(state, last, None)
    if judged.skipped is not None:
        raise UsageError(f"commit {name_of(state, last)} cannot be judged: {judged.skipped}")
    measured = [change for change in judged.changes if (state.metric or _speed(change)) in change.changes]
    if not measured:
        raise UsageError(
            f"no case has {state.metric or 'a speed'} in both commits, the good one and {name_of(state, last)}",
            hint=f"`gpubench show {judged.folder}` says how its cases ended.",
        )
    worse = [change for change in measured if _moved(state, change).judgement == "worse"]
    chosen = max(worse or measured, key=lambda change: _least(_moved(state, change)))
    state = state.model_copy(
        update={"case_id": chosen.case_id, "label": chosen.label, "metric": _moved(state, chosen).metric}
        | {"others": max(len(worse) - 1, 0)}
    )
    return _with(state, _judgement(state, judged, last, None))


def _check_worse(state: StoredBisection) -> None:
    total = state.judgements[0]
    if total.judgement == "worse":
        return
    told = f"{described(state, total)} in {state.label}"
    if total.judgement == "unclear":
        raise UsageError(
            f"{state.rounds} rounds cannot tell commit {name_of(state, total.commit)} from the good one: {told}",
            hint="Start again with more --rounds, a longer `measure.max_time`, or on a quieter machine.",
        )
    said = "the two commits are the same" if total.judgement == "same" else "the later commit is better"
    raise UsageError(
        f"commit {name_of(state, total.commit)} is not worse than the good one: {told}; {said}",
        hint=f"Choose another case (-k) or metric (--metric). If smaller changes matter, lower --sesoi "
        f"({state.sesoi:.3g} now).",
    )


def _judgement(state: StoredBisection, judged: CommitsCompared, commit: int, against: int | None) -> Judgement:
    given = {"commit": commit, "against": against, "run": judged.run}
    change = next((each for each in judged.changes if each.case_id == state.case_id), None)
    if judged.skipped is not None or change is None:
        return Judgement(**given, skipped=judged.skipped or "the case was not measured")
    metric = state.metric
    if metric is None or metric not in change.changes:
        after = change.candidate
        ended = f"its launches end as {after.status.value}" if after is not None else "it has no figure"
        return Judgement(**given, skipped=ended)
    moved = change.changes[metric]
    location = None if moved.comparison is None else moved.comparison.location
    if location is None and (moved.comparison is not None or moved.judgement == "unclear"):
        return Judgement(**given, skipped=moved.reason)
    effect = None
    if location is not None:
        effect = LogEffect(mean=location.mean, standard_error=location.standard_error, df=location.df)
    rounds = 0 if moved.comparison is None else moved.comparison.rounds
    return Judgement(**given, rounds=rounds, judgement=moved.judgement, change=moved.change, effect=effect)


def _replayed(state: StoredBisection) -> Bisection:
    """The belief after all judgements. A bad commit is assumed about as bad as the last one, and at least half of
    `sesoi`.
    """
    total, *others = state.judgements
    sesoi, low, high = log1p(state.sesoi), 0.0, 0.0
    if total.effect is not None:
        low, high = Location(total.effect.mean, total.effect.standard_error, total.effect.df).interval()
    least = max(sesoi / 2, low)
    found = Bisection(len(state.commits), least, max(least, high, sesoi))
    for each in others:
        if each.skipped is not None:
            found.skip(each.commit)
        elif each.effect is not None:
            location = Location(each.effect.mean, each.effect.standard_error, each.effect.df)
            found.learn(each.commit, location, each.against)
        else:
            found.learn_verdict(each.commit, bad=each.judgement == "worse", against=each.against)
    return found


def _between(state: StoredBisection, suspects: Suspects) -> Judgement | None:
    """The judgement of the suspects against the commit before them, if already made."""
    before = suspects.first - 1 if suspects.first else None
    found = [each for each in state.judgements if (each.commit, each.against) == (suspects.last, before)]
    return found[-1] if found else None


def _with(state: StoredBisection, judgement: Judgement) -> StoredBisection:
    return state.model_copy(update={"judgements": (*state.judgements, judgement)})


def _moved(state: StoredBisection, change: CaseChange) -> MetricChange:
    return change.changes[state.metric or _speed(change)]


def _speed(change: CaseChange) -> str:
    """The metric that says how fast a case is."""
    measured = change.measured
    return measured.speed_metric if isinstance(measured, CaseSummary) else "throughput"


def _least(moved: MetricChange) -> float:
    """The least it is worse by."""
    found = moved.regression
    return float("-inf") if found is None else found.value if found.low is None else found.low


def name_of(state: StoredBisection, commit: int | None) -> str:
    """`1a2b3c4d5e 'subject'`."""
    which = state.good if commit is None else state.commits[commit]
    return f"{which.commit[:10]} {which.subject!r}"


def described(state: StoredBisection, judgement: Judgement) -> str:
    """`throughput -3.0% (-3.8, -2.2)`."""
    assert state.metric is not None, "known since the first judgement"
    return f"{metric_title(state.metric)} {change_text(MetricChange(state.metric, 'unclear', judgement.change, ''))}"


def explained(found: SearchAnswer) -> float | None:
    """The suspects' share of the whole change; None if the change is not a ratio over rounds."""
    if found.confirmed is None or found.confirmed.effect is None or found.total.effect is None:
        return None
    return found.confirmed.effect.mean / found.total.effect.mean
