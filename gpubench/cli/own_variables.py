"""Environment variables that gpubench sets for itself, and removes before it starts a user's program."""

import os

_WANTED = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Keeps pydantic from searching every installed package for plugins, which takes a tenth of the start-up."""

_set: set[str] = set()


def set_own_variables() -> None:
    for name, value in _WANTED.items():
        if name not in os.environ:
            os.environ[name] = value
            _set.add(name)


def users_environment() -> dict[str, str]:
    """The environment without gpubench's own variables."""
    return {name: value for name, value in os.environ.items() if name not in _set}
