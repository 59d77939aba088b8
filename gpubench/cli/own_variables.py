"""Environment variables that gpubench sets for itself, and takes away again before it starts a user's program."""

import os

_WANTED = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""pydantic would read the metadata of every installed package in search of plugins: a tenth of the start-up."""

_set: set[str] = set()


def set_own_variables() -> None:
    for name, value in _WANTED.items():
        if name not in os.environ:
            os.environ[name] = value
            _set.add(name)


def users_environment() -> dict[str, str]:
    """The environment as the user gave it."""
    return {name: value for name, value in os.environ.items() if name not in _set}
