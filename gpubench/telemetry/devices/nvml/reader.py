"""One quantity and the calls that may give it: the first that works is kept, so support is probed and never guessed.

A fault that means "not on this card or driver" moves on to the next call only before the first success. Later the same
fault is a passing one (drivers do return NOT_SUPPORTED now and then): the call is tried again on the next tick.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from gpubench.telemetry.devices.nvml import codes
from gpubench.telemetry.devices.nvml.library import NvmlError


class Notes:
    """What went wrong on one device: `missing` by quantity, `faults` by (call, code), `lost` once the card is gone."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.faults: Counter[tuple[str, int | None]] = Counter()
        self.lost: str | None = None

    def add(self, quantity: str, fault: NvmlError) -> codes.Kind:
        """Counts the fault and says what kind it is."""
        kind = codes.kind_of(fault.code)
        self.missing[quantity] = str(fault)
        self.faults[fault.call, fault.code] += 1
        if kind is codes.Kind.LOST:
            self.lost = str(fault)
        return kind

    def summary(self) -> dict[str, int]:
        """Failed calls by `call: NAME (code)`."""
        return {f"{call}: {codes.name_of(code)}": count for (call, code), count in sorted(self.faults.items(), key=str)}


class Reader:
    """Reads one quantity; None when it cannot. Never raises `NvmlError`."""

    def __init__(self, quantity: str, notes: Notes, *candidates: Callable[[], Any]) -> None:
        self._quantity = quantity
        self._notes = notes
        self._candidates = list(candidates)
        self._settled = False

    def read(self) -> Any:
        while self._candidates and self._notes.lost is None:
            try:
                value = self._candidates[0]()
            except NvmlError as fault:
                kind = self._notes.add(self._quantity, fault)
                if kind is not codes.Kind.OFF or self._settled:
                    return None
                self._candidates.pop(0)
                continue
            self._settled = True
            self._notes.missing.pop(self._quantity, None)
            return value
        return None
