"""One launch to do, as the schedule hands it to what measures it."""

from dataclasses import dataclass

from gpubench.store.run_info import PlannedCase


@dataclass(frozen=True)
class PlannedLaunch:
    """One launch to do: of a case, in round `repeat` (from 1), for an arm where the run has arms."""

    case: PlannedCase
    repeat: int
    arm: str | None = None
