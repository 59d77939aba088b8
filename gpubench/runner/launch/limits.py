"""How long a launch and a run may take, and the clock that tells."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`timeout_s` ends a launch; at `deadline_s` (on `clock`, in seconds) the time budget of the run is used up."""

    timeout_s: float
    deadline_s: float | None = None
    clock: Callable[[], float] = time.monotonic

    @property
    def used_up(self) -> bool:
        return self.deadline_s is not None and self.clock() >= self.deadline_s
