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


class ArmInfo(Frozen):
    """One side of an A/B. `given` is what was asked for it: `python`, `env.NAME`, `git` or `set.NAME` to its value.

    Beside `git`, as it was written, stands `commit`: the whole hash of what was installed.
    """

    name: str
    given: dict[str, str] = Field(default_factory=dict)


class RunInfo(Frozen):
    """What was asked, of which machine. `suite` is the suite file as read, with overrides applied.

    `arms`, the reference first, of a run that interleaves them; `interleave` is how: alternating blocks of steps in one
    process, or launches in turn. Of many cases every one gets `screen_rounds`, and only those that then look changed
    get the rest, on which alone they are judged; None: each case is judged while it is measured. `sesoi` is the
    smallest change that mattered then (0.03 is 3 %), None where there are no arms.
    """

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
    arms: tuple[ArmInfo, ...] = ()
    interleave: Literal["block", "launch"] | None = None
    screen_rounds: int | None = None
    sesoi: float | None = None
