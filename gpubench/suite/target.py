"""`gpubench run TARGET`: a workload where a suite could be named, as the shortest suite that measures it."""

import json
import re
from pathlib import Path
from typing import NoReturn

from gpubench.core.errors import UsageError
from gpubench.suite.read.find_workload import names_in, why_missing

_LONGEST_NAME = 64

_SUITE = """schema: 1
name: {name}
description: {workload} alone, as named on the command line.
defaults: {{workload: {quoted}, device: auto, batch_size: 32}}
measure: {{target_rel_ci: 2%, min_time: 1s, max_time: 10s}}
"""


def is_target(source: str) -> bool:
    """Whether it names a workload: `torchvision:resnet18`, `module:Name`, `file.py:Name` or `file.py`.

    A name alone is that of a suite.
    """
    return source.endswith(".py") or (":" in source and not Path(source).is_file())


def target_suite(source: str) -> str:
    """The suite of a target, as text. UsageError with what there is where it names nothing."""
    file, colon, name = source.rpartition(":")
    if not colon or not name:
        _refuse_file_alone(file or source)
    missing, suggestion = why_missing(source, ())
    if missing:
        raise UsageError(f"{_capital(missing)}.", hint=_capital(suggestion))
    return _SUITE.format(name=_slug(name), workload=source, quoted=json.dumps(source))


def _refuse_file_alone(file: str) -> NoReturn:
    path = Path(file)
    names = names_in(path) if path.is_file() else None
    if not path.is_file():
        raise UsageError(f"There is no file {file}.", hint="A target in a file is path/to/file.py:Name.")
    offered = ", ".join(f"{file}:{name}" for name in sorted(names or ()) if name[:1].isupper()) or f"{file}:Name"
    raise UsageError(f"{file} is a file; a target names one object in it.", hint=f"For example {offered}.")


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_NAME].strip("-._") or "target"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
