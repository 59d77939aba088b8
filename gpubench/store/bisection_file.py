"""A bisection on disk: `bisection.json` in a folder that also holds the run of each judgement."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from gpubench.core.errors import StoreError, UsageError
from gpubench.core.records import Estimate
from gpubench.core.secrets import hide_secrets
from gpubench.core.stored_model import Frozen
from gpubench.store.atomic_files import read_regular, store_error, write_atomically
from gpubench.store.parse_json import parse_json

BISECTION_NAME = "bisection.json"
BISECTION_SCHEMA = 1


class Commit(Frozen):
    """`date` is that of the commit, `YYYY-MM-DD`."""

    commit: str
    subject: str
    author: str
    date: str


class LogEffect(Frozen):
    """Mean log ratio to the reference commit, of a quantity that should be low; above 0 is worse."""

    mean: float
    standard_error: float = Field(ge=0)
    df: float = Field(gt=0)


class Judgement(Frozen):
    """Commit number `commit` against number `against` (None: the good one), from `rounds` rounds of `run`.

    `change` is the metric's, as `gpubench compare` shows it; `effect` comes from the rounds. `skipped` says why a
    commit could not be judged.
    """

    commit: int
    against: int | None = None
    run: str | None = None
    rounds: int = 0
    judgement: Literal["worse", "better", "same", "unclear"] = "unclear"
    change: Estimate | None = None
    effect: LogEffect | None = None
    skipped: str | None = None


class StoredBisection(Frozen):
    """A search and its progress. `commits` are those after `good`, oldest first, ending with the bad one.

    `case_id` and `label` name the case to follow, known once `good` and the last commit were compared; `others` counts
    further cases that got worse. `sesoi` is a relative change, `rounds` the most rounds of a judgement.
    """

    schema_number: int = Field(BISECTION_SCHEMA, alias="schema")
    created: str
    folder: str
    suite: str
    overrides: tuple[str, ...] = ()
    selection: str | None = None
    metric: str | None = None
    sesoi: float
    rounds: int
    good: Commit
    commits: tuple[Commit, ...] = Field(min_length=1)
    case_id: str | None = None
    label: str | None = None
    others: int = 0
    judgements: tuple[Judgement, ...] = ()


def read_bisection(folder: Path) -> StoredBisection:
    """The search of a folder. UsageError if it holds none, StoreError if it cannot be read."""
    path = folder / BISECTION_NAME
    try:
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{folder} holds no bisection", hint="Name the folder that `gpubench bisect` printed when it began."
        ) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    try:
        return StoredBisection.model_validate(parse_json(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{path} is not a bisection of this gpubench: {where}: {first['msg']}") from error
    except ValueError as error:
        raise StoreError(f"{path} is not a bisection: {error}") from error


def write_bisection(folder: Path, search: StoredBisection) -> None:
    """Writes it whole or not at all. StoreError if it cannot be written."""
    document = hide_secrets(search.model_dump(mode="json", by_alias=True))
    write_atomically(folder / BISECTION_NAME, (json.dumps(document, indent=1) + "\n").encode())
