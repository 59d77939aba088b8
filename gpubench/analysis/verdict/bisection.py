"""Which commit changed a figure? Bisection with uncertain judgements.

At first, all commits are equally likely. A judgement of one commit against the good one updates that belief by its
likelihood, and the next commit to judge is the one that halves the remaining probability (Horstein 1963; Waeber,
Frazier and Henderson 2013, "Bisection search with noisy responses"). So a wrong judgement is not final: the search
returns to its neighbours.
"""

import math
from dataclasses import dataclass, field

from gpubench.stats.estimators import Location

CONFIDENCE = 0.9
"""Probability at which a commit counts as found. It is then compared with the one before it, which adds evidence."""

MOST_PER_COMMIT = 3
"""After this many undecided judgements a commit counts as one that cannot be judged."""

_GRID = 33
"""Number of points over which the effect of a bad commit is integrated."""

_SURE = 1e6
"""Likelihood ratio of a judgement without noise; not infinite, because a build may be wrong."""


@dataclass(frozen=True)
class Suspects:
    """Commits `first` .. `last` of a search (equal for a single one), and the probability that it is one of them."""

    first: int
    last: int
    probability: float


@dataclass
class Bisection:
    """Commits 0 .. `num` - 1 after the good one, oldest first; the last one is known to be bad.

    An effect is a log ratio to the good commit, above 0 if worse: between `least` and `most` for a bad commit, 0 for a
    good one. ValueError without a commit, or for limits that are not 0 < least <= most.
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
        """Takes in the rounds of a judgement: the mean log ratio, its error and degrees of freedom.

        `against`: an earlier commit, in place of the good one.
        """
        self._weigh(commit, against, self._likelihood_ratio(effect))

    def learn_verdict(self, commit: int, *, bad: bool, against: int | None = None) -> None:
        """Takes in a judgement that is not a mean of rounds, such as peak memory."""
        self._weigh(commit, against, _SURE if bad else 1 / _SURE)

    def skip(self, commit: int) -> None:
        """Marks a commit that cannot be judged: it does not build, or does not run."""
        self._open.discard(commit)

    def answer(self) -> Suspects:
        """The likeliest commit, with neighbours that cannot be told from it because no commit in between can be
        judged.
        """
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
        """Makes it `ratio` times as likely that the first bad commit lies after `against` and not after `commit`."""
        after = -1 if against is None else against
        weighed = [share * (ratio if after < at <= commit else 1.0) for at, share in enumerate(self._belief)]
        total = math.fsum(weighed)
        self._belief = [share / total for share in weighed]
        self._asked[commit] = self._asked.get(commit, 0) + 1
        if self._asked[commit] >= MOST_PER_COMMIT:
            self._open.discard(commit)

    def _likelihood_ratio(self, effect: Location) -> float:
        """The likelihood of bad (any effect between the limits) over good (none), by Student's t, as few rounds do not
        know their error.
        """
        step = (self.most - self.least) / (_GRID - 1)
        bad = math.fsum(_density(effect, self.least + at * step) for at in range(_GRID)) / _GRID
        good = _density(effect, 0.0)
        return min(max(bad / good if good > 0 else _SURE, 1 / _SURE), _SURE)


def _density(effect: Location, value: float) -> float:
    """Density of the t distribution at `value`, up to a factor that all values share."""
    error = max(effect.standard_error, 1e-9)
    return float((1 + ((effect.mean - value) / error) ** 2 / effect.df) ** (-(effect.df + 1) / 2))
