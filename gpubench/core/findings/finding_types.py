"""A finding, its entry in the catalogue, and what findings do to the validity of a figure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Effect(StrEnum):
    """What a finding does to the standing of the number it is attached to."""

    NONE = "none"
    WEAKENS = "weakens"
    INVALIDATES = "invalidates"


class Validity(StrEnum):
    """VALID may win a headline; SUSPECT is shown with its reason; INVALID is never ranked."""

    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


class FindingSpec(NamedTuple):
    """The catalogue's entry of a code. `mark` is the few letters shown in a table's note column."""

    code: str
    name: str
    severity: Severity
    effect: Effect
    mark: str
    meaning: str
    remedy: str


class Finding(BaseModel):
    """One occurrence. `message` says what was seen with its numbers, `hint` what to do about it here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    effect: Effect
    message: str
    hint: str = ""
    data: dict[str, Any] = Field(default_factory=dict)


def validity(findings: Iterable[Finding]) -> Validity:
    """The validity of a figure with these findings."""
    effects = {finding.effect for finding in findings}
    if Effect.INVALIDATES in effects:
        return Validity.INVALID
    return Validity.SUSPECT if Effect.WEAKENS in effects else Validity.VALID
