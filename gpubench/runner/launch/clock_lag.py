"""The worker's clock beside the parent's: a clock that is slowed down makes a case look fast."""

from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_seconds
from gpubench.protocol.messages import Phase

LEAST_S = 0.5
"""A parent that waits for a CPU reads a message so much later than it was sent."""

MOST_SHARE = 0.05
"""Of the time since the first message."""


class ClockLag:
    """Both read CLOCK_MONOTONIC, so a phase is heard when the worker says that it began, and never earlier.

    The worker's clock is slow if every message after the measured steps is further behind than the first was. Nothing
    is said of a launch in which the parent itself stood still.
    """

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._after: list[tuple[float, float]] = []
        self._measuring = self._stood_still = False

    def hear(self, phase: Phase, now_s: float) -> None:
        heard = now_s, now_s - phase.at_s
        if self._first is None:
            self._first = heard
        elif self._measuring:
            self._after.append(heard)
        self._measuring = self._measuring or phase.name == "measuring"

    def stand_still(self) -> None:
        """The parent did not look for longer than it meant to."""
        self._stood_still = True

    def finding(self) -> Finding | None:
        """GB216 where the clock is slow."""
        if self._first is None or not self._after or self._stood_still:
            return None
        began_s, lag_s = self._first
        behind_s, took_s = min((lag - lag_s, now_s - began_s) for now_s, lag in self._after)
        if behind_s <= LEAST_S + MOST_SHARE * took_s:
            return None
        message = f"In {format_seconds(took_s)} the worker's clock fell {format_seconds(behind_s)} behind."
        return finding("GB216", message, behind_s=behind_s, took_s=took_s)
