"""A path of changes from a suite's base: what each is worth alone, and on top of those before it."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.suite.model.settings import normal

Settings = dict[str, Any]


def path_settings(path: Sequence[Mapping[str, Any]]) -> list[Settings]:
    """What the cases of a path give beside the suite's defaults: the base (nothing), then the first change, the first
    two and so on, then each change alone. Some may be the same case twice. Empty for an empty path.
    """
    if not path:
        return []
    changes = [{name: normal(name, value) for name, value in change.items()} for change in path]
    return [*cumulated(changes), *changes]


def cumulated(changes: Sequence[Mapping[str, Any]]) -> list[Settings]:
    """Nothing, then one change on top of another; a later value of a setting replaces an earlier one."""
    given: list[Settings] = [{}]
    for change in changes:
        given.append({**given[-1], **change})
    return given
