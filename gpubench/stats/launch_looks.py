"""How many launches a case needs: at a few set numbers of launches, is the quoted interval narrow enough?"""

import math
from collections.abc import Sequence

from gpubench.stats.estimators import Location, mean_location

CONFIDENCE = 0.97
"""Nominal level of the interval when the data decide the number of launches. It then covers 94 to 97 %, if launches
vary by 0.5 to 3 % (`python -m gpubench.tools.selfcheck launches`).
"""

FEW = 8
LEAST_SPREAD = 0.01
"""Least standard deviation, on logs, assumed of fewer than eight launches. Launches may have two modes, and the first
few may all be in one: with 30 % in the other, three launches miss it in one case of three, eight in one of 17.
"""

LOOK_GROWTH = 1.33
"""A look after every launch would stop at the first interval that is narrow by chance."""


def looks(least: int, most: int) -> tuple[int, ...]:
    """Numbers of launches after which to look: 3, 4, 6, 8, 11, 12 from 3 to 12; `most` is always the last."""
    found, number = [], least
    while number < most:
        found.append(number)
        number = max(number + 1, math.ceil(number * LOOK_GROWTH))
    return (*found, most)


def located(logs: Sequence[float]) -> Location:
    """The quoted mean of launches whose number the data decide. ValueError below two."""
    found = mean_location(logs)
    if len(logs) >= FEW:
        return found
    return found._replace(standard_error=max(found.standard_error, LEAST_SPREAD / math.sqrt(len(logs))))


def are_enough(values: Sequence[float], least: int, most: int, target_rel_ci: float) -> bool:
    """Whether the first launches were enough at one of the looks. `values` are logs of their medians, in order."""
    for number in looks(least, most):
        if number > len(values):
            return False
        if number == most:
            return True
        low, high = located(values[:number]).interval(CONFIDENCE)
        if (high - low) / 2 <= math.log1p(target_rel_ci):
            return True
    return False
