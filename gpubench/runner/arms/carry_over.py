"""Does alternating in one process change an arm? The reference was measured twice, against itself.

Two replicas of one arm differ a little by where their memory lies, so a difference counts only if it is significant,
larger than half of the default smallest effect of interest, and seen again, in the same direction, in another process.
"""

import math
from dataclasses import dataclass

from gpubench.core.units import format_percent
from gpubench.protocol.messages import SelfCheck

LIMIT = math.log(1.015)
P_VALUE = 0.006


@dataclass(frozen=True)
class Suspicion:
    """`kind` names the pair: two replicas, or a block after another arm and one after the same. Ratio as its log."""

    kind: str
    log_ratio: float

    def confirmed_by(self, other: "Suspicion | None") -> bool:
        return other is not None and other.kind == self.kind and (other.log_ratio > 0) == (self.log_ratio > 0)

    def __str__(self) -> str:
        return f"{self.kind} took {format_percent(math.expm1(self.log_ratio), signed=True)}"


def suspicion(check: SelfCheck | None) -> Suspicion | None:
    """What is suspicious about a self-check; None if nothing is, or there was none."""
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
