"""Rows of the doctor: what was checked, how bad it is, and what to do about it."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from gpubench.core.secrets import mask_text


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
    """One check. `text` says what was found with its numbers, `remedy` what to do about it."""

    group: Group
    name: str
    level: Level
    text: str
    remedy: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def doctor_row(group: Group, name: str, level: Level, text: str, remedy: str = "", **data: Any) -> DoctorRow:
    """A row; `remedy` is dropped if the level is `ok`. Secrets in its text (of a variable, a path) are withheld."""
    return DoctorRow(group, name, level, mask_text(text), "" if level is Level.OK else remedy, data)


def fit(rows: list[DoctorRow]) -> bool:
    """Whether no row is `bad`."""
    return all(row.level is not Level.BAD for row in rows)
