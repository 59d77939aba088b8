"""Whether alternating in one process leaves an arm as it is: the reference was measured twice, against itself.

Two replicas of one arm differ a little by where their memory lies, so a difference counts only where it is plain,
larger than half of the usual smallest effect of interest, and there again, in the same direction, in another process.
"""

import math
from dataclasses import dataclass

from gpubench.core.units import format_percent
from gpubench.protocol.messages import SelfCheck

LIMIT = math.log(1.015)
P_VALUE = 0.006


@dataclass(frozen=True)
class Suspicion:
    """`kind`: the second replica against the first, or a block after another arm against one after its own. Log ratio."""

    kind: str
    log_ratio: float

    def confirmed_by(self, other: "Suspicion | None") -> bool:
        return other is not None and other.kind == self.kind and (other.log_ratio > 0) == (self.log_ratio > 0)

    def __str__(self) -> str:
        return f"{self.kind} took {format_percent(math.expm1(self.log_ratio), signed=True)}"


def suspicion(check: SelfCheck | None) -> Suspicion | None:
    """What is suspicious about a self-check; None where nothing is, or there was none."""
    if check is None:
        return None
    apart = check.low is not None and check.high is not None and (check.low > 0 or check.high < 0)
    if apart and abs(check.twin) >= LIMIT:
        return Suspicion("the same arm, measured twice,", check.twin)
    if (
        check.after_other is not None
        and check.p_value is not None
        and check.p_value <= P_VALUE
        and abs(check.after_other) >= LIMIT
    ):
        return Suspicion("a block after another arm's", check.after_other)
    return None
