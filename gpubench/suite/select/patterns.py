"""Matching cases: patterns of settings, as in suite files, also used by `-k` expressions."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from gpubench.suite.model.settings import SETTINGS, BadValue, normal

Pattern = Mapping[str, tuple[Any, ...]]
"""The values that fit, by setting, in the form stored in a case."""

Test = Callable[[Mapping[str, Any]], bool]


def matches(settings: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether every setting that `where` names has the value given there, or one of those in a list.

    Values are taken as in a suite file (`NHWC`, `off`). `device: cuda` fits every CUDA device, `cuda:1` only this one;
    `env` and `params` fit if the names given have these values, whatever else is set. An empty `where` fits everything,
    an unknown setting nothing.
    """
    return fits(settings, _compiled(json.dumps(where, sort_keys=True, default=str)))


def compiled(where: Mapping[str, Any]) -> Pattern:
    """`where` with its values in the form stored in a case. An impossible value stays unchanged and fits no case."""
    pattern = {}
    for name, values in where.items():
        listed = list(values) if isinstance(values, list | tuple) else [values]
        for at, value in enumerate(listed):
            with suppress(BadValue):
                listed[at] = normal(name, value) if name in SETTINGS else value
        pattern[name] = tuple(listed)
    return pattern


def fits(settings: Mapping[str, Any], pattern: Pattern) -> bool:
    """`matches` for a pattern compiled once and used for many cases."""
    return all(
        name in settings and any(_fits(name, settings[name], value) for value in values)
        for name, values in pattern.items()
    )


@lru_cache(maxsize=256)
def _compiled(text: str) -> Pattern:
    return compiled(json.loads(text))


def _fits(name: str, actual: Any, wanted: Any) -> bool:
    if name == "device" and wanted == "cuda":
        return str(actual).partition(":")[0] == "cuda"
    if name in ("env", "params") and isinstance(wanted, dict) and isinstance(actual, Mapping):
        same = (text_of(actual.get(key)) == text_of(value) for key, value in wanted.items())
        return all(same) and bool(wanted or not actual)
    return bool(actual == wanted)


def text_of(value: Any) -> str:
    """`-k` has no types: `params.width=64` is text."""
    return str(value).lower() if isinstance(value, bool) else str(value)
