"""The head of a run folder: `run.json`."""

from typing import Any, Literal

from pydantic import Field

from gpubench.core.records import Frozen, Status

RUN_SCHEMA = 1


class PlannedCase(Frozen):
    """One entry of the plan. `index` counts from 1 in suite order; `skip_status` is set for what will not be measured."""

    index: int
    kind: Literal["measure", "quality"] = "measure"
    case_id: str
    label: str
    settings: dict[str, Any]
    skip_status: Status | None = None
    skip_reason: str | None = None


class RunInfo(Frozen):
    """What was asked, of which machine. `suite` is the suite file as read, with overrides applied."""

    schema_number: int = Field(default=RUN_SCHEMA, alias="schema")
    run: str
    suite_name: str
    suite: dict[str, Any]
    suite_digest: str
    suite_path: str | None = None
    created: str
    argv: tuple[str, ...] = ()
    tag: str | None = None
    seed: int = 0
    repeats: int = 1
    versions: dict[str, str | None] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    cases: tuple[PlannedCase, ...] = ()
    selection: str | None = None
