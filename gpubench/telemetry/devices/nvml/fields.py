"""`nvmlDeviceGetFieldValues`: many quantities in one call, each with its own return code. Field numbers: nvml.h."""

from typing import Any

from gpubench.telemetry.devices.nvml import codes
from gpubench.telemetry.devices.nvml.library import Library, NvmlError
from gpubench.telemetry.devices.nvml.reader import Notes

_UNION_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_NOT_AVAILABLE = frozenset({2**64 - 1, -1})
_GPU, _MODULE = 0, 1


class FieldSpec:
    """A quantity, its field number, the scopes to try, and the factor to SI."""

    def __init__(self, quantity: str, field: int, factor: float, *, scopes: tuple[int, ...] = (_GPU,)) -> None:
        self.quantity = quantity
        self.field = field
        self.factor = factor
        self.scopes = scopes


POWER_INSTANT = FieldSpec("power_instant_w", 186, 1e-3, scopes=(_GPU, _MODULE))
POWER_AVERAGE = FieldSpec("power_average_w", 185, 1e-3, scopes=(_GPU, _MODULE))
COUNTER = FieldSpec("counter_j", 83, 1e-3)
THROTTLE = (
    FieldSpec("throttle_power_cap_s", 74, 1e-9),
    FieldSpec("throttle_sync_boost_s", 76, 1e-9),
    FieldSpec("throttle_sw_thermal_s", 269, 1e-9),
    FieldSpec("throttle_hw_thermal_s", 270, 1e-9),
    FieldSpec("throttle_power_brake_s", 271, 1e-9),
)
MEMORY_TEMPERATURE = FieldSpec("memory_temperature_c", 82, 1.0)


class Fields:
    """A fixed set of fields of one device, read together. Those the card does not have are asked for once only."""

    def __init__(self, library: Library, handle: Any, notes: Notes, specs: tuple[FieldSpec, ...]) -> None:
        self._library = library
        self._handle = handle
        self._notes = notes
        self._scopes = {spec.quantity: list(spec.scopes) for spec in specs}
        self._specs = {spec.quantity: spec for spec in specs}
        self._settled: set[str] = set()
        self._call_settled = False

    def read(self) -> dict[str, float]:
        """Present values by quantity, in SI units. A field that turns out to be off is asked for in its other scope
        at once, so that the first reading is already complete. Never raises `NvmlError`.
        """
        values: dict[str, float] = {}
        wanted = [quantity for quantity, scopes in self._scopes.items() if scopes]
        while wanted and self._notes.lost is None:
            answers = self._ask(wanted)
            again = [quantity for quantity, answer in answers.items() if self._take(quantity, answer, values)]
            wanted = again
        return values

    def _ask(self, wanted: list[str]) -> dict[str, Any]:
        request = [(self._specs[quantity].field, self._scopes[quantity][0]) for quantity in wanted]
        try:
            answers = self._library.call("nvmlDeviceGetFieldValues", self._handle, request)
        except NvmlError as fault:
            for quantity in wanted:
                kind = self._notes.add(quantity, fault)
                if kind is codes.Kind.OFF and not self._call_settled:
                    self._scopes[quantity].clear()
            return {}
        self._call_settled = True
        return dict(zip(wanted, answers, strict=True))

    def _take(self, quantity: str, answer: Any, values: dict[str, float]) -> bool:
        """Stores the value; True if the quantity should be asked for once more, in another scope."""
        if answer.nvmlReturn:
            kind = self._notes.add(quantity, NvmlError(f"field {answer.fieldId}", int(answer.nvmlReturn)))
            if kind is not codes.Kind.OFF or quantity in self._settled:
                return False
            self._scopes[quantity].pop(0)
            return bool(self._scopes[quantity])
        value = _decode(answer)
        if value is None:
            return False
        self._settled.add(quantity)
        self._notes.missing.pop(quantity, None)
        values[quantity] = value * self._specs[quantity].factor
        return False


def _decode(answer: Any) -> float | None:
    """The number in the union, by its type tag; None for NVML's "not available" (all bits set) or a tag that this
    nvidia-ml-py does not know (`usVal` came after 12.560).
    """
    tag = int(answer.valueType)
    if not 0 <= tag < len(_UNION_MEMBERS):
        return None
    value = getattr(answer.value, _UNION_MEMBERS[tag], None)
    return None if value is None or value in _NOT_AVAILABLE else float(value)
