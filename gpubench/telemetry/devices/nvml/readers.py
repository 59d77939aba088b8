"""Reads quantities: support is probed, never guessed, and a failed call becomes a note.

A `Reader` asks for one quantity by the first of several calls that works; `Fields` asks for many at once
(`nvmlDeviceGetFieldValues`, field numbers: nvml.h), each with its own return code.

A fault that means "not on this card or driver" moves on to the next call only before the first success. Later the same
fault is temporary (drivers do return NOT_SUPPORTED now and then): the call is tried again on the next tick.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpubench.telemetry.devices.base import THROTTLE_REASONS
from gpubench.telemetry.devices.nvml.library import Kind, Library, NvmlError, kind_of, name_of


class Notes:
    """What went wrong on one device: `missing` by quantity, `faults` by (call, code), `lost` once the card is gone; and
    `scopes`, the quantities known only for the whole module.
    """

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.scopes: dict[str, str] = {}
        self.faults: Counter[tuple[str, int | None]] = Counter()
        self.lost: str | None = None

    def add(self, quantity: str, fault: NvmlError) -> Kind:
        """Counts the fault and returns its kind."""
        kind = kind_of(fault.code)
        self.missing[quantity] = str(fault)
        self.faults[fault.call, fault.code] += 1
        if kind is Kind.LOST:
            self.lost = str(fault)
        return kind

    def summary(self) -> dict[str, int]:
        """Failed calls by `call: NAME (code)`."""
        return {f"{call}: {name_of(code)}": count for (call, code), count in sorted(self.faults.items(), key=str)}


class Reader:
    """Reads one quantity by the first of `calls` (name and arguments after the handle) that works; None when it cannot.

    Never raises `NvmlError`.
    """

    def __init__(
        self, quantity: str, library: Library, handle: Any, notes: Notes, calls: Sequence[tuple[Any, ...]]
    ) -> None:
        self._quantity, self._library, self._handle, self._notes = quantity, library, handle, notes
        self._candidates = list(calls)
        self._settled = False

    def read(self) -> Any:
        while self._candidates and self._notes.lost is None:
            try:
                name, *args = self._candidates[0]
                value = self._library.call(name, self._handle, *args)
            except NvmlError as fault:
                kind = self._notes.add(self._quantity, fault)
                if kind is not Kind.OFF or self._settled:
                    return None
                self._candidates.pop(0)
                continue
            self._settled = True
            self._notes.missing.pop(self._quantity, None)
            return value
        return None


_UNION_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_NOT_AVAILABLE = frozenset({2**64 - 1, -1})
_GPU, _MODULE = 0, 1


class FieldSpec(NamedTuple):
    """A quantity: its field number, its factor to SI, and the scopes to try."""

    quantity: str
    field: int
    factor: float
    scopes: tuple[int, ...] = (_GPU,)


POWER_INSTANT = FieldSpec("power_instant_w", 186, 1e-3, scopes=(_GPU, _MODULE))
POWER_AVERAGE = FieldSpec("power_average_w", 185, 1e-3, scopes=(_GPU, _MODULE))
COUNTER = FieldSpec("counter_j", 83, 1e-3)
_FIELDS = zip(THROTTLE_REASONS, (74, 76, 269, 270, 271), strict=True)
THROTTLE = tuple(FieldSpec(f"throttle_{reason}_s", field, 1e-9) for reason, field in _FIELDS)
MEMORY_TEMPERATURE = FieldSpec("memory_temperature_c", 82, 1.0)


class Fields:
    """A fixed set of fields of one device, read together. Those the card lacks are asked for only once."""

    def __init__(self, library: Library, handle: Any, notes: Notes, specs: tuple[FieldSpec, ...]) -> None:
        self._library, self._handle, self._notes = library, handle, notes
        self._scopes = {spec.quantity: list(spec.scopes) for spec in specs}
        self._specs = {spec.quantity: spec for spec in specs}
        self._settled: set[str] = set()
        self._call_settled = False

    def read(self) -> dict[str, float]:
        """Values by quantity, in SI units. A field that turns out to be off is read in its other scope at once, so that
        the first reading is already complete. Never raises `NvmlError`.
        """
        values: dict[str, float] = {}
        wanted = [quantity for quantity, scopes in self._scopes.items() if scopes]
        while wanted and self._notes.lost is None:
            answers = self._ask(wanted)
            wanted = [quantity for quantity, answer in answers.items() if self._take(quantity, answer, values)]
        return values

    def _ask(self, wanted: list[str]) -> dict[str, Any]:
        request = [(self._specs[quantity].field, self._scopes[quantity][0]) for quantity in wanted]
        try:
            answers = self._library.call("nvmlDeviceGetFieldValues", self._handle, request)
        except NvmlError as fault:
            for quantity in wanted:
                kind = self._notes.add(quantity, fault)
                if kind is Kind.OFF and not self._call_settled:
                    self._scopes[quantity].clear()
            return {}
        self._call_settled = True
        return dict(zip(wanted, answers, strict=True))

    def _take(self, quantity: str, answer: Any, values: dict[str, float]) -> bool:
        """Stores the value; True if the quantity should be read again, in another scope."""
        if answer.nvmlReturn:
            kind = self._notes.add(quantity, NvmlError(f"field {answer.fieldId}", int(answer.nvmlReturn)))
            if kind is not Kind.OFF or quantity in self._settled:
                return False
            self._scopes[quantity].pop(0)
            return bool(self._scopes[quantity])
        value = _decode(answer)
        if value is None:
            self._notes.missing[quantity] = f"field {answer.fieldId}: the driver says it is not available"
            return False
        self._settled.add(quantity)
        if self._scopes[quantity][0] == _MODULE:
            self._notes.scopes[quantity] = "module"
        self._notes.missing.pop(quantity, None)
        values[quantity] = value * self._specs[quantity].factor
        return False


def _decode(answer: Any) -> float | None:
    """The number in the union, by its type tag; None for NVML's "not available" (all bits set) or a tag that this
    nvidia-ml-py does not know (12.560 has no `usVal` yet).
    """
    tag = int(answer.valueType)
    if not 0 <= tag < len(_UNION_MEMBERS):
        return None
    value = getattr(answer.value, _UNION_MEMBERS[tag], None)
    return None if value is None or value in _NOT_AVAILABLE else float(value)
