"""The head of a run folder: `run.json`."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gpubench.core.errors import StoreError
from gpubench.core.records import Label, Status
from gpubench.core.stored_model import Frozen, share_names
from gpubench.suite.model.case import Case

RUN_SCHEMA = 1
_Model = TypeVar("_Model", bound=BaseModel)


_TABLES = {"system", "cpu", "python", "packages", "worker", "git", "variables", "driver", "self_test", "ceilings"}
_TABLES |= {"defaults", "measure", "quality", "baseline"}
_LISTS = {"gpus", "gates", "path"}
"""Parts of the environment and of the suite file."""
_IS_NUMBER = re.compile(r"num_\w+|\w+_(bytes|mhz|w|c)")


def _check_numbers(table: Mapping[str, Any]) -> None:
    """ValueError if a value whose name ends in a unit or a count is not a number."""
    for name, value in table.items():
        if isinstance(value, dict):
            _check_numbers(value)
        elif _IS_NUMBER.fullmatch(name) and not isinstance(value, int | float | None):
            raise ValueError(f"{name} is not a number")


def understood(model: type[_Model], value: Any, what: str) -> _Model:
    """A stored part as this version's model. StoreError if it contains something unknown."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise StoreError(
            f"{what} that this gpubench does not know: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint="Read it with the gpubench that wrote it, or update: pip install --upgrade gpubench",
        ) from error


class PlannedCase(Frozen):
    """One entry of the plan. `index` counts from 1 in suite order; `skip_status` is set for what will not be measured.

    `settings` stay as stored, so that a run with settings unknown to this version can still be listed.
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
        case = understood(Case, self.settings, f"case {self.label!r} has a setting")
        share_names(case)
        return case


class _CaseIndex(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    index: int
    kind: str = "measure"


class RunHead(BaseModel):
    """The part of `run.json` shown in a list of runs."""

    model_config = ConfigDict(frozen=True, from_attributes=True, populate_by_name=True)

    schema_number: int = Field(alias="schema")
    suite_name: str
    created: str
    tag: str | None = None
    cases: tuple[_CaseIndex, ...] = ()


class ArmInfo(Frozen):
    """One side of an A/B. `given` maps each requested item (`python`, `env.NAME`, `git`, `set.NAME`) to its value.

    With `git` it also has `commit`, the full hash of the installed commit.
    """

    name: str
    given: dict[str, str] = Field(default_factory=dict)

    @property
    def asked(self) -> str:
        """What was given, for a person: `env.OMP_NUM_THREADS=1, git=main`."""
        return ", ".join(f"{key}={value}" for key, value in self.given.items() if key != "commit")


class TuneGoal(Frozen):
    """What `gpubench tune` looked for. `price`: money per hour of the machine; `cost` needs it."""

    objective: Literal["speed", "energy", "cost"] = "speed"
    price: float | None = Field(default=None, gt=0)


class RunInfo(Frozen):
    """What was to be measured, and on which machine. `suite` is the suite file as read, with overrides applied.

    `arms` of an interleaved run, the reference first; `interleave` says how: alternating blocks of steps in one
    process, or launches in turn. With many cases, each gets `screen_rounds`, and those that then look changed get
    further rounds, on which alone they are judged; None: each case is judged while it is measured. `sesoi` is the run's
    smallest effect of interest (0.03 is 3 %), None without arms.

    `price_per_hour` is what the machine costs, in any currency; None if not given.

    `tune` is set if the cases were chosen during the run: `suite` then holds the whole grid, `cases` those that were
    tried. `target` is the workload named instead of a suite. Relative paths (`suite_path`, data sets, interpreters) are
    relative to `working_folder`. `interpreter` is the prefix of the Python that ran gpubench. An anonymous run has no
    `working_folder` and only a digest of the `interpreter`. `workload_files` are digests of the files that workloads
    were loaded from and of the data they read beside them; `imported` names the modules they used from elsewhere;
    `package_digest` is of gpubench's own code;
    `origin` is a mark by which the user who made the run recognises it.
    """

    schema_number: int = Field(default=RUN_SCHEMA, alias="schema")
    run: str
    suite_name: str
    suite: dict[str, Any]
    suite_digest: str
    suite_path: str | None = None
    target: str | None = None
    created: str
    argv: tuple[str, ...] = ()
    tag: str | None = None
    seed: int = 0
    repeats: int = Field(1, ge=0, le=10**6)
    versions: dict[str, str | None] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    cases: tuple[PlannedCase, ...] = ()
    selection: str | None = None
    arms: tuple[ArmInfo, ...] = ()
    interleave: Literal["block", "launch"] | None = None
    screen_rounds: int | None = Field(None, ge=0, le=10**6)
    sesoi: float | None = Field(default=None, gt=0, lt=1)
    price_per_hour: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tune: TuneGoal | None = None
    working_folder: str | None = None
    interpreter: str | None = None
    workload_files: dict[str, str] = Field(default_factory=dict)
    imported: tuple[str, ...] = ()
    package_digest: str | None = None
    origin: str | None = None

    @property
    def is_anonymous(self) -> bool:
        return bool(self.environment.get("anonymous"))

    @property
    def source(self) -> str:
        """What named the suite on the command line: its file, the target it was made for, or its name."""
        return self.suite_path or self.target or self.suite_name

    @field_validator("environment", "suite")
    @classmethod
    def _has_the_parts_that_are_read(cls, value: dict[str, Any]) -> dict[str, Any]:
        """ValueError if a part that other code reads as a table or a list is something else."""
        for name in _TABLES & value.keys():
            if not isinstance(value[name], dict | None):
                raise ValueError(f"{name} is not a table")
        for name in _LISTS & value.keys():
            if not isinstance(value[name], list | None):
                raise ValueError(f"{name} is not a list")
        if not all(isinstance(gpu, dict) for gpu in value.get("gpus") or ()):
            raise ValueError("gpus is not a list of tables")
        for table in (value.get("system"), value.get("cpu"), *(value.get("gpus") or ())):
            _check_numbers(table or {})
        if not all(
            isinstance(gpu.get(name), str | None) for gpu in value.get("gpus") or () for name in ("name", "uuid")
        ):
            raise ValueError("the name or uuid of a GPU is not text")
        flags = (value.get("cpu") or {}).get("flags")
        if flags is not None and not (isinstance(flags, list) and all(isinstance(flag, str) for flag in flags)):
            raise ValueError("cpu.flags is not a list of words")
        return value
