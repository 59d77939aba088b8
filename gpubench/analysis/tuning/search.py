"""Chooses which settings of a grid to measure next, until the fastest is known: a pure function of the measurements.

    start    one setting, and every setting that differs from it in one value
    search   a model of the measurements draws possible grids; what is fastest in most draws is measured next, and once
             the model is sure, settings with pairs of values that no measured setting has: it may be wrong about them
    final    the fastest take turns until all but one are ruled out (looks and alpha as in every contest), together with
             the settings on the way from the start to the fastest

The model proposes, blocks decide. A ratio leaves out the process in which a finalist was first seen, because it was
chosen for its speed there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import nsmallest
from itertools import pairwise
from typing import Literal

from gpubench.analysis.summary.contest_levels import CONTEST
from gpubench.analysis.tuning.grid import Space, TriedPoints
from gpubench.analysis.tuning.speed_model import Known, SpeedModel
from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios
from gpubench.analysis.verdict.judge import Comparison

TUNE = replace(CONTEST, sesoi=0.01)
"""Two settings are equally fast if a difference of 1 % is ruled out."""

SURE = 0.99
CLOSE = 0.01
"""The search ends when the fastest measured setting is this close to the fastest of the grid in 99 % of the draws."""

_WIDTH = 4
_FINALISTS = 3
_DRAWS = 400
_DRAWN_POINTS = 160
_LEAST_ROUNDS = 3
_MOST_LAUNCHES = 4
"""Most launches of finalists that cannot take turns; more would not be worth their cost."""

_DISTURBED = math.log(3)
"""A launch is this much slower, on logs, than another of its setting only if something disturbed it."""

_PLAUSIBLE = 0.02
_SIMPLER = 0.004
"""A setting with fewer changes is preferred to one that is faster by less than this (on log speed)."""


@dataclass(frozen=True)
class Ask:
    """What to measure next: launch number `repeat` of those in `launch` that lack it, and one process for each group in
    `contest`, which begins with the point of the group that was tried first.
    """

    stage: Literal["start", "search", "final"]
    launch: tuple[int, ...] = ()
    contest: tuple[int, ...] = ()
    repeat: int = 1


@dataclass(frozen=True)
class LogRatio:
    """A log ratio of scores with its interval (None below two rounds)."""

    log: float
    low: float | None
    high: float | None
    rounds: int
    found: Comparison | None = None


class Search:
    """Decides what to do next, given everything measured so far."""

    def __init__(self, space: Space, measured: TriedPoints, *, seed: int = 0) -> None:
        self._space, self._measured, self._seed = space, measured, seed

    @cached_property
    def start(self) -> int | None:
        """The start of the search: the grid's, or the first point that works if that does not."""
        valid = self._measured.valid
        return self._space.start if self._space.start in valid else next(iter(valid), None)

    def next(self, room: int | None = None) -> Ask | None:
        """The next step, None if nothing is left to do; `room` is the number of launches there is time for (None: the
        usual limit).
        """
        left = self._space.limit - self._measured.cost
        room = left if room is None else min(left, room)
        if room < 1:
            return None
        return self._begin(room) or self._doubted() or self._in_turn() or self._search(room) or self._final(room)

    # Which points are out

    @cached_property
    def blocked(self) -> frozenset[int]:
        """Points that need not be tried: they failed, or share the cause of another one's failure.

        A value that failed as the only change from a working start fails everywhere; a batch that ran out of memory
        rules out batches as large or larger at the same precision.
        """
        space, failed = self._space, self._measured.failed
        out = {*failed}
        start = self.start
        for point, kind in failed.items():
            apart = [] if start is None else space.differ(start, point)
            if kind == "oom" and space.batch_axis is not None:
                out |= {each for each in range(len(space.codes)) if self._as_large(each, point, space.batch_axis)}
            elif kind != "oom" and len(apart) == 1:
                axis, value = apart[0], space.codes[point][apart[0]]
                out |= {each for each, code in enumerate(space.codes) if code[axis] == value}
        return frozenset(out - {*self._measured.launches} | {*failed})

    def _as_large(self, one: int, other: int, batch: int) -> bool:
        mine, its, precision = self._space.codes[one], self._space.codes[other], self._space.precision_axis
        return mine[batch] >= its[batch] and (precision is None or mine[precision] == its[precision])

    # The stages

    def _begin(self, room: int) -> Ask | None:
        space, tried = self._space, {*self._measured.order}
        if space.start not in tried:
            return Ask("start", launch=(space.start,))
        around = space.start if self.start is None else self.start
        left = [point for point in space.neighbours(around) if point not in tried | self.blocked]
        if self.start is None:
            left = left[:1]
        return Ask("start", launch=tuple(left[:room])) if left else None

    def _doubted(self) -> Ask | None:
        """The slowest point once more, if it has one launch that was far slower than every other point: one disturbed
        launch would rule out its change of the start everywhere.
        """
        launches = self._measured.launches
        best = {point: max(launches[point].values()) for point in self._measured.valid if launches[point]}
        if len(best) < 2:
            return None
        slowest, other = nsmallest(2, best, key=lambda point: best[point])
        if slowest == self.start or len(launches[slowest]) > 1 or best[other] - best[slowest] < _DISTURBED:
            return None
        return Ask("start", launch=(slowest,), repeat=2)

    def _in_turn(self) -> Ask | None:
        """Valid points that have not taken turns yet, with the first of those that can share their process; after the
        start only points that may be the best, because a launch is enough to see that another is not.
        """
        measured, contest = self._measured, list[int]()
        seen = {point for process in measured.contests for point in process} | measured.apart
        if measured.contests:
            seen |= {*self.path[1:-1]}  # they take turns in the final
        for group, members in self._by_group(measured.valid).items():
            if group is None:
                continue
            fresh = [
                point for point in members if point not in seen and (not measured.contests or self._may_win(point))
            ]
            if fresh and fresh != members[:1]:
                contest += dict.fromkeys([members[0], *fresh])
        return Ask("search" if measured.contests else "start", contest=tuple(contest)) if contest else None

    def _by_group(self, points: Iterable[int]) -> dict[int | None, list[int]]:
        found: dict[int | None, list[int]] = {}
        for point in points:
            found.setdefault(self._space.groups[point], []).append(point)
        return found

    def _search(self, room: int) -> Ask | None:
        if not self.standing:
            return None
        width = min(_WIDTH, (room - self._reserve - 2) // 2)  # each may need a launch and a place in a process
        points = (self.proposals or self.unseen_pairs)[: max(0, width)]
        return Ask("search", launch=points) if points else None

    @property
    def _reserve(self) -> int:
        """Launches still needed for the final: its rounds, and untried points on the way to the best."""
        launches, unseen = self._measured.launches, {*self.path} - {*self._measured.order}
        groups = self._by_group({*self.path, *self.finalists})
        alone = groups.pop(None, [])
        needed = sum(max(0, _LEAST_ROUNDS - len(launches.get(point, ()))) for point in alone)
        needed += sum(_LEAST_ROUNDS * (len(points) + 2) for points in groups.values() if len(points) > 1)
        apart = 2 * (_LEAST_ROUNDS - 1) * max(0, len(groups) - 1)
        return needed + len(unseen - {*alone}) + apart

    # What the model says

    @cached_property
    def model(self) -> SpeedModel:
        import numpy as np

        known = []
        process = 0
        for point, launches in self._measured.launches.items():
            least = max(launches.values(), default=0.0) - _DISTURBED
            for score in launches.values():
                if score < least:
                    continue
                process += 1
                known.append(Known(point, process, score, alone=True))
        for contest in self._measured.contests:
            process += 1
            known += [Known(point, process, score, alone=False) for point, score in contest.items()]
        return SpeedModel(np.array(self._space.codes), self._space.numeric, known)

    @cached_property
    def standing(self) -> tuple[int, ...]:
        """The valid points, best first."""
        import numpy as np

        valid = self._measured.valid
        if not valid:
            return ()
        mean, _ = self.model.moments(np.array(valid))
        return tuple(valid[at] for at in np.argsort(-mean, kind="stable"))

    @cached_property
    def proposals(self) -> tuple[int, ...]:
        """Points to try next, of one group; empty once a measured point is certain to be close enough to the best."""
        import numpy as np

        tried = {*self._measured.order}
        untried = np.array([p for p in range(len(self._space.codes)) if p not in tried and p not in self.blocked])
        if not len(untried):
            return ()
        mean, sd = self.model.moments(untried)
        likely = untried[np.argsort(-(mean + 2 * sd), kind="stable")[:_DRAWN_POINTS]]
        rng = np.random.default_rng([self._seed, len(tried)])
        best = self.standing[0]
        drawn = self.model.draws(np.concatenate([[best], likely]), _DRAWS, rng)
        close = float(np.mean(drawn.max(axis=1) <= drawn[:, 0] + CLOSE))
        if close >= SURE:
            return ()
        wins = np.bincount(drawn[:, 1:].argmax(axis=1), minlength=len(likely))
        ranked = [int(likely[at]) for at in np.lexsort((-drawn[:, 1:].mean(axis=0), -wins))]
        group = self._space.groups[ranked[0]]
        return tuple([point for point in ranked if self._space.groups[point] == group][:_WIDTH])

    def _may_win(self, point: int) -> bool:
        import numpy as np

        mean, sd = self.model.moments(np.array([self.standing[0], point]))
        return bool(mean[1] + 2 * sd[1] > mean[0])

    @cached_property
    def unseen_pairs(self) -> tuple[int, ...]:
        """Untried points with pairs of values that no tried point has, those with most of them first, then the fastest.

        The model expects pairs to matter little if those it has seen do.
        """
        import numpy as np

        space, tried = self._space, {*self._measured.order}
        left = [point for point in range(len(space.codes)) if point not in tried | self.blocked]
        if not left:
            return ()
        seen = {pair for point in tried for pair in space.pairs(point)}
        speed = dict(zip(left, self.model.moments(np.array(left))[0], strict=True))
        found: list[int] = []
        while len(found) < _WIDTH:
            most = max(left, key=lambda point: (len(space.pairs(point) - seen), speed[point]))
            if space.pairs(most) <= seen:
                break
            found.append(most)
            seen |= space.pairs(most)
        return tuple(found)

    # The final

    def _final(self, room: int) -> Ask | None:
        if len(self.standing) < 2:
            return None
        unseen = tuple(point for point in self.path if point not in self._measured.order)
        if unseen:
            return Ask("final", launch=unseen[:room])
        contest, launch = self._still_open()
        twins = len({self._space.groups[point] for point in contest})
        if (not contest and not launch) or len(contest) + twins + len(launch) > room:
            return None
        repeat = min((len(self._measured.launches[point]) for point in launch), default=0) + 1
        return Ask("final", launch, contest, repeat)

    @cached_property
    def finalists(self) -> tuple[int, ...]:
        """Points that may be the best, likeliest first."""
        import numpy as np

        points = self.standing[: 4 * _FINALISTS]
        rng = np.random.default_rng([self._seed, 1])
        drawn = self.model.draws(np.array(points), _DRAWS, rng)
        share = np.bincount(drawn.argmax(axis=1), minlength=len(points)) / _DRAWS
        chosen = [point for at, point in enumerate(points) if at == 0 or share[at] >= _PLAUSIBLE]
        return tuple(chosen[:_FINALISTS])

    @cached_property
    def path(self) -> tuple[int, ...]:
        """From the start to the best, one change at a time: first changes of the process as a whole, then those that
        gain most. Failed points are left out, so a step may hold two changes.
        """
        assert self.start is not None, "there is a best"
        import numpy as np

        here, goal, found = self.start, self.best, [self.start]
        while left := self._space.differ(here, goal):
            nexts = []
            for axis in left:
                code = list(self._space.codes[here])
                code[axis] = self._space.codes[goal][axis]
                nexts.append(self._space.index.get(tuple(code)))
            points = [point for point in nexts if point is not None and (point == goal or point not in self.blocked)]
            if not points:
                found.append(goal)
                break
            apart = [point for point in points if not self._share(here, point)]
            mean, _ = self.model.moments(np.array(apart or points))
            here = (apart or points)[int(np.argmax(mean))]
            found.append(here)
        return tuple(found)

    def _still_open(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Points for another round of the final: those to take turns, and those to launch again."""
        best = self.best
        contest: list[int] = []
        launch: list[int] = []
        pairs = [(self.path[at], self.path[at + 1], False) for at in range(len(self.path) - 1)]
        pairs += [(other, best, True) for other in self.finalists if other != best]
        for one, other, race in pairs:
            ratio, together = self.ratio(other, one), self._share(one, other)
            most = TUNE.max_rounds if together else _MOST_LAUNCHES
            undecided = ratio.found is None or ratio.found.verdict == "unclear"
            if ratio.rounds >= _LEAST_ROUNDS and not (race and undecided and ratio.rounds < most):
                continue
            (contest if together else launch).extend((one, other))
        firsts = {group: members[0] for group, members in self._by_group(self._measured.valid).items()}
        compared = [each for point in contest for each in (firsts[self._space.groups[point]], point)]
        return tuple(dict.fromkeys(compared)), tuple(dict.fromkeys(launch))

    def ratio(self, one: int, other: int) -> LogRatio:
        """How many times as good `one` is as `other`, from processes with both, or else launch by launch."""
        if self._share(one, other):
            logs = self._contest_logs(one, other)
        else:
            ours, theirs = self._measured.launches.get(one, {}), self._measured.launches.get(other, {})
            logs = [ours[number] - theirs[number] for number in sorted(ours.keys() & theirs.keys())]
        return ratio_of(logs)

    @property
    def together(self) -> LogRatio:
        """How many times as good the best is as the start, measured together, or else step by step along the path."""
        path = self.path
        if len(path) < 3 or self._share(path[0], path[-1]):
            return self.ratio(path[-1], path[0])
        steps = [self.ratio(other, one) for one, other in pairwise(path)]
        log, rounds = math.fsum(step.log for step in steps), min(step.rounds for step in steps)
        if any(step.low is None or step.high is None for step in steps):
            return LogRatio(log, None, None, rounds)
        reach = math.hypot(
            *((step.high - step.low) / 2 for step in steps if step.high is not None and step.low is not None)
        )
        return LogRatio(log, log - reach, log + reach, rounds)

    def _share(self, one: int, other: int) -> bool:
        """Whether two points can take turns in one process."""
        group, apart = self._space.groups[one], self._measured.apart
        return group is not None and group == self._space.groups[other] and not {one, other} & apart

    def _contest_logs(self, one: int, other: int) -> list[float]:
        firsts: dict[int, int] = {}
        for number, process in enumerate(self._measured.contests):
            for point in process.keys() & self.finalists:
                firsts.setdefault(point, number)
        shared = {n: p[one] - p[other] for n, p in enumerate(self._measured.contests) if one in p and other in p}
        later = [log for number, log in shared.items() if number not in (firsts.get(one), firsts.get(other))]
        return later or list(shared.values())

    @cached_property
    def best(self) -> int:
        """The best measured point; if the difference is negligible, the one with fewer changes from the start."""
        assert self.start is not None, "there is a best"
        import numpy as np

        points = self.finalists
        mean, _ = self.model.moments(np.array(points))
        top = float(mean.max())
        near = [point for at, point in enumerate(points) if mean[at] >= top - _SIMPLER]
        return min(
            near, key=lambda point: (len(self._space.differ(self.start or 0, point)), -mean[points.index(point)])
        )


def ratio_of(logs: Sequence[float]) -> LogRatio:
    """The ratio from log ratios by round; without any it has no rounds."""
    if not logs:
        return LogRatio(0.0, None, None, 0)
    found = compare_log_ratios(logs, TUNE)
    if found is None or found.location is None:
        return LogRatio(math.fsum(logs) / len(logs), None, None, len(logs), found)
    low, high = found.location.interval(TUNE.interval_level)
    return LogRatio(found.location.mean, low, high, len(logs), found)
