"""What the doctor says: rows with a level and, where something can be done, what."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """`bad` spoils figures (`--strict` refuses the machine), `warn` may, `n/a` could not be checked here."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    NA = "n/a"


class Group(StrEnum):
    """In the order they are shown."""

    SOFTWARE = "software"
    GPU = "GPU state"
    HOST = "host"
    SELF_TEST = "self-test"


@dataclass(frozen=True)
class DoctorRow:
    """One check. `text` says what was seen with its numbers, `remedy` what to do."""

    group: Group
    name: str
    level: Level
    text: str
    remedy: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def fit(rows: list[DoctorRow]) -> bool:
    """Whether nothing seen would spoil a measurement."""
    return all(row.level is not Level.BAD for row in rows)
