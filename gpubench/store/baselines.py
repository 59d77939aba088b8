"""Baselines: the last accepted figures of a suite on a machine, as text files kept with the code.

    suites/baselines/<machine>/<suite>.json

One case per line, so that changes can be read in a diff.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from gpubench.core.errors import StoreError, UsageError
from gpubench.core.findings import Validity
from gpubench.core.records import Status
from gpubench.core.secrets import hide_secrets
from gpubench.core.stored_model import Frozen
from gpubench.store.atomic_files import read_regular, replace_file, store_error
from gpubench.store.parse_json import parse_json

BASELINE_SCHEMA = 1

_DIGITS = 7
_LONGEST_NAME = 80


class BaselineCase(Frozen):
    """One case. `settings` are those that differ from their defaults; `metrics` holds the values of its launches.

    Values are in the metric registry's SI units, rounded to seven digits.
    """

    id: str
    kind: Literal["measure", "quality"] = "measure"
    label: str
    settings: dict[str, Any]
    status: Status
    reason: str | None = None
    validity: Validity = Validity.VALID
    correctness: Literal["pass", "fail", "unverified"] = "unverified"
    effective: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    metrics: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class Accepted(Frozen):
    """One update of the baseline: when (UTC), from which run and commit, and for what reason."""

    created: str
    run: str
    reason: str
    commit: str | None = None


class Baseline(Frozen):
    """`environment` is the comparable part of the machine's, flat. `history` is oldest first, the current update
    last.
    """

    schema_number: int = Field(default=BASELINE_SCHEMA, alias="schema")
    suite: str
    suite_digest: str
    machine: str
    environment: dict[str, Any]
    history: tuple[Accepted, ...]
    cases: tuple[BaselineCase, ...]


def machine_name(environment: Mapping[str, Any]) -> str:
    """The folder of a machine's baselines, from a run's environment: its GPUs, or else its processor.

    `nvidia-h100-80gb-hbm3`, `2x-nvidia-l4`, `cpu-amd-epyc-7b13-8-threads`.
    """
    gpus = [str(gpu["name"]) for gpu in environment.get("gpus") or () if gpu.get("name")]
    if gpus:
        several = f"{len(gpus)}x " if len(gpus) > 1 else ""
        return _slug(several + " ".join(dict.fromkeys(gpus)))
    cpu = environment.get("cpu") or {}
    threads = cpu.get("num_threads_usable")
    return _slug(f"cpu {cpu.get('model') or 'unknown'}" + (f" {threads} threads" if threads else ""))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST_NAME].strip("-")


def baseline_path(folder: Path, environment: Mapping[str, Any], suite: str) -> Path:
    """Where the baseline of `suite` on the machine of `environment` is kept below `folder`."""
    return folder / machine_name(environment) / f"{suite}.json"


def read_baseline(path: Path) -> Baseline:
    """The baseline of a file. UsageError if there is none, StoreError if it cannot be read."""
    try:
        content = read_regular(path)
    except FileNotFoundError:
        raise UsageError(
            f"there is no baseline {path}",
            hint="`gpubench check RUN --update` makes one of a run; --against RUN compares with a stored run instead.",
        ) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    try:
        document = parse_json(content)
        number = document.get("schema") if isinstance(document, dict) else None
        if isinstance(number, int) and number > BASELINE_SCHEMA:
            raise StoreError(f"{path} was written by a newer gpubench (schema {number})", hint="Update gpubench.")
        return Baseline.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{path} is not a baseline: {where}: {first['msg']}", hint=_MAKE_AGAIN) from error
    except ValueError as error:
        raise StoreError(f"{path} is not a baseline: {error}", hint=_MAKE_AGAIN) from error


_MAKE_AGAIN = "Restore it from version control, or make it again with `gpubench check RUN --update`."


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write it whole or not at all, with its folder. StoreError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, _text(baseline).encode(), durable=True)
    except OSError as error:
        raise store_error("write", path, error, "Choose another place with --baselines DIR.") from error


def _text(baseline: Baseline) -> str:
    """JSON with a line per key of the head, per entry of the history and per case."""
    head = hide_secrets(baseline.model_dump(mode="json", by_alias=True))  # the reason is written by a person
    lists = {name: head.pop(name) for name in ("history", "cases")}
    environment = head.pop("environment")
    parts = [f" {json.dumps(name)}: {_line(value)}" for name, value in head.items()]
    parts.append(
        ' "environment": {\n' + ",\n".join(f"  {json.dumps(k)}: {_line(v)}" for k, v in environment.items()) + "\n }"
    )
    parts += [
        f' "{name}": [\n' + ",\n".join(f"  {_line(each)}" for each in values) + "\n ]" for name, values in lists.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def rounded(value: float) -> float:
    """Rounded to seven significant digits, as in a baseline."""
    return float(f"{value:.{_DIGITS}g}")
