"""Which commit changed a figure? Bisection over judgements that are not certain.

Every commit is first held to be as likely as any other. A judgement of one commit against the good one moves that
belief by its likelihood, and the next commit to judge is the one that halves what is left (Horstein 1963; Waeber,
Frazier and Henderson 2013, "Bisection search with noisy responses"). A wrong judgement is therefore not final: the
search comes back to its neighbours.
"""

import math
from dataclasses import dataclass, field

from gpubench.stats.estimators import Location

CONFIDENCE = 0.9
"""Probability at which one commit is held to be it. It is then compared with the one before it, which adds to that."""

MOST_PER_COMMIT = 3
"""After so many judgements that leave a commit open it counts as one that cannot be judged."""

_GRID = 33
"""Points at which the effect of a bad commit is tried."""

_SURE = 1e6
"""Likelihood ratio of a judgement without noise. The rest is for a build that was not what it should have been."""


@dataclass(frozen=True)
class Suspects:
    """Commits `first` .. `last` of a search (the same number for one): one of them is it, with this probability."""

    first: int
    last: int
    probability: float


@dataclass
class Bisection:
    """Commits 0 .. `num` - 1 after the good one, oldest first; the last one is known to be bad.

    An effect is a log ratio to the good commit, above 0 if worse. That of a bad commit lies between `least` and `most`,
    that of a good one is 0. ValueError without a commit, or for limits that are not 0 < least <= most.
    """

    num: int
    least: float
    most: float
    _belief: list[float] = field(init=False)
    _open: set[int] = field(init=False)
    _asked: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError("there must be a commit between the good and the bad one, or the bad one itself")
        if not 0 < self.least <= self.most < math.inf:
            raise ValueError(f"the effect must lie between limits above 0, got {self.least} and {self.most}")
        self._belief = [1 / self.num] * self.num
        self._open = set(range(self.num - 1))

    def question(self) -> int | None:
        """The commit to judge next; None once one group of suspects holds `CONFIDENCE`, or nothing is left to judge."""
        if not self._open or self.answer().probability >= CONFIDENCE:
            return None
        bad_here, best, nearest = 0.0, None, math.inf
        for commit, share in enumerate(self._belief):
            bad_here += share
            if commit in self._open and abs(bad_here - 0.5) < nearest - 1e-12:
                best, nearest = commit, abs(bad_here - 0.5)
        return best

    def learn(self, commit: int, effect: Location, against: int | None = None) -> None:
        """What the rounds of a judgement say: the mean log ratio, its error and degrees of freedom.

        `against`: an earlier commit, in place of the good one.
        """
        self._weigh(commit, against, self._likelihood_ratio(effect))

    def learn_verdict(self, commit: int, *, bad: bool, against: int | None = None) -> None:
        """A judgement that is not a mean of rounds, such as peak memory."""
        self._weigh(commit, against, _SURE if bad else 1 / _SURE)

    def skip(self, commit: int) -> None:
        """A commit that cannot be judged: it does not build, or does not run."""
        self._open.discard(commit)

    def answer(self) -> Suspects:
        """The likeliest commit, together with neighbours that no commit between them can be judged to tell apart."""
        best, first, mass = Suspects(0, self.num - 1, 0.0), 0, 0.0
        for commit, share in enumerate(self._belief):
            mass += share
            if commit in self._asked or commit in self._open or commit == self.num - 1:
                if mass > best.probability:
                    best = Suspects(first, commit, min(mass, 1.0))
                first, mass = commit + 1, 0.0
        return best

    def num_left(self) -> int:
        """The fewest commits that together hold `CONFIDENCE`."""
        held, number = 0.0, 0
        for share in sorted(self._belief, reverse=True):
            held, number = held + share, number + 1
            if held >= CONFIDENCE:
                break
        return number

    def _weigh(self, commit: int, against: int | None, ratio: float) -> None:
        """The first bad commit lies after `against` and not after `commit`, `ratio` times as likely as elsewhere."""
        after = -1 if against is None else against
        weighed = [share * (ratio if after < at <= commit else 1.0) for at, share in enumerate(self._belief)]
        total = math.fsum(weighed)
        self._belief = [share / total for share in weighed]
        self._asked[commit] = self._asked.get(commit, 0) + 1
        if self._asked[commit] >= MOST_PER_COMMIT:
            self._open.discard(commit)

    def _likelihood_ratio(self, effect: Location) -> float:
        """Of bad (any effect between the limits) to good (none). Student's t: few rounds do not know their error."""
        step = (self.most - self.least) / (_GRID - 1)
        bad = math.fsum(_density(effect, self.least + at * step) for at in range(_GRID)) / _GRID
        good = _density(effect, 0.0)
        return min(max(bad / good if good > 0 else _SURE, 1 / _SURE), _SURE)


def _density(effect: Location, value: float) -> float:
    """Of the t distribution at `value`, but for a factor that all values share."""
    error = max(effect.standard_error, 1e-9)
    return float((1 + ((effect.mean - value) / error) ** 2 / effect.df) ** (-(effect.df + 1) / 2))
