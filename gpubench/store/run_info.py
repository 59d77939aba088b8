"""The head of a run folder: `run.json`."""

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationError

from gpubench.core.errors import StoreError
from gpubench.core.records import Frozen, Label, Status
from gpubench.suite.model.case import Case

RUN_SCHEMA = 1


class PlannedCase(Frozen):
    """One entry of the plan. `index` counts from 1 in suite order; `skip_status` is set for what will not be measured.

    `settings` are kept as they were stored, so that a run can be listed whose settings this version does not know.
    """

    index: int
    kind: Literal["measure", "quality"] = "measure"
    case_id: str
    label: Label
    settings: dict[str, Any]
    skip_status: Status | None = None
    skip_reason: str | None = None

    @cached_property
    def case(self) -> Case:
        """The settings as a `Case`. StoreError if this version does not know one of them."""
        try:
            return Case.model_validate(self.settings)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise StoreError(
                f"case {self.label!r} has a setting that this gpubench does not know: "
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                hint="Read the run with the gpubench that wrote it, or update: pip install --upgrade gpubench",
            ) from error


class ArmInfo(Frozen):
    """One side of an A/B. `given` maps what was asked (`python`, `env.NAME`, `git`, `set.NAME`) to its value.

    With `git` it also has `commit`: the full hash of what was installed.
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
