"""How a comparison is judged."""

from dataclasses import dataclass
from typing import SupportsIndex

from gpubench.core.metrics import SESOI
from gpubench.stats.estimators import TRIM

LOOKS = (5, 7, 10, 16, 24)
_MISSES = 0.6


@dataclass(frozen=True)
class Look:
    """A planned look: after how many rounds, and the error it may spend.

    `alpha` is the two-sided level of the test for a difference, `beta` the one-sided level of each of the two tests
    for equivalence.
    """

    rounds: int
    alpha: float
    beta: float


@dataclass(frozen=True)
class CompareSettings:
    """Limits of a comparison.

    `sesoi`: smallest effect of interest, as a relative change of step time (0.03 is 3 %). `alpha`: probability of a
    wrong `slower` or `faster` where nothing changed, over all looks, both directions together. `looks`: rounds after
    which to look at the data. `max_rounds`: rounds after which an undecided comparison is `unclear`; it is the last
    look, and later ones are left out. `trim`: share cut at each end of the rounds. `confidence`: of the reported
    interval; that of `same` is 1 - (1 - confidence) / 2. `least_spread`: least standard deviation of rounds to assume,
    on log ratios, however well a few of them agree.

    A look spends more the later it is: 1/15, 2/15, ... 5/15 of the whole for five looks, so that an early verdict needs
    strong evidence and the last look keeps most of the power (alpha spending, Lan and DeMets 1983; the shares add up to
    the whole, so they hold under any dependence between looks). `same` spends (1 - confidence) / 2 in the same shares:
    a true effect of `sesoi` is called `same` in at most 2.5 % of comparisons, whatever the noise.
    """

    sesoi: float = SESOI
    alpha: float = 0.006
    looks: tuple[int, ...] = LOOKS
    max_rounds: int = LOOKS[-1]
    trim: float = TRIM
    confidence: float = 0.95
    least_spread: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sesoi", "alpha", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        if not all(isinstance(rounds, SupportsIndex) for rounds in (*self.looks, self.max_rounds)):
            raise ValueError(f"looks and max_rounds must be whole numbers, got {self.looks} and {self.max_rounds}")
        if self.least_spread < 0:
            raise ValueError(f"least_spread must not be below 0, got {self.least_spread}")
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim must be in [0, 0.5), got {self.trim}")
        if not self.looks or any(b <= a for a, b in zip(self.looks, self.looks[1:], strict=False)):
            raise ValueError(f"looks must increase, got {self.looks}")
        if min(self.looks[0], self.max_rounds) < 3:
            raise ValueError("a look needs at least three rounds")

    @property
    def interval_level(self) -> float:
        """Nominal level of the reported t interval, 0.97 for a confidence of 0.95.

        A 95 % t interval at a stop that depends on the data covers 91 to 94 %; one allowed to miss 0.6 times as often
        covers 94 to 97 % in the scenarios of `python -m gpubench.tools.selfcheck statistics`.
        """
        return 1 - _MISSES * (1 - self.confidence)

    def schedule(self, rounds: int | None = None) -> tuple[Look, ...]:
        """The looks of a comparison that ends, for reasons outside its data, after `rounds` (None: `max_rounds`).

        Data that end between two looks get a last look at their end, which spends everything left. Fewer rounds than
        the first look get none.
        """
        planned = [look for look in self.looks if look < self.max_rounds] + [self.max_rounds]
        end = self.max_rounds if rounds is None else min(rounds, self.max_rounds)
        if end < planned[0]:
            return ()
        total = len(planned) * (len(planned) + 1) / 2
        taken = [look for look in planned if look <= end]
        shares = [(number + 1) / total for number in range(len(taken))]
        if taken[-1] < end:
            taken.append(end)
            shares.append(0.0)
        shares[-1] += 1 - sum(shares)
        beta = (1 - self.confidence) / 2
        return tuple(Look(at, self.alpha * share, beta * share) for at, share in zip(taken, shares, strict=True))

    def passes(self, rounds: int) -> tuple[Look, ...]:
        """The looks at `rounds` stored rounds, which ended because a look settled them or for outside reasons.

        At the end, the planned look comes before the one that spends everything left, so that stored rounds get the
        verdict at which measuring stopped. The second includes the first, so nothing is spent twice.
        """
        taken = self.schedule(rounds)
        planned = [look for look in self.schedule() if taken and look.rounds == taken[-1].rounds and look != taken[-1]]
        return (*taken[:-1], *planned, *taken[-1:])
