"""What the package knows about a setting besides its type, default and help: a record at its field in `Case`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


def always(case: Any) -> bool:  # noqa: ARG001 - one of the answers that `SettingSpec.read_back` may be
    return True


def either(on: str, off: str) -> Callable[[Any], str]:
    """The words for a switch that is on or off."""
    return lambda value: on if value else off


def named(name: str) -> Callable[[Any], str]:
    """`name=value`, for a value that would not explain itself."""
    return lambda value: f"{name}=default" if value is None else f"{name}={value}"


@dataclass(frozen=True)
class SettingSpec:
    """`title` heads its column in a table. `label` turns a value into its word in a case's label, `cell` into its word
    in a table (None: the value itself, `on` or `off` for a switch).

    quiet:      a label names it only if it is not at its default
    in_process: arms that differ in it may alternate in one process: a model brings it with its build, or it is set and
                read back at every switch
    read_back:  whether a case requires a value to be read back, in the field of this name of `Effective` or in its
                `extra`; None: it is never read back
    cause:      the likeliest reason why something else was read back
    if_differs: what it means for a comparison if the sides read back different values
    effect:     the report says how much faster each value is than the default, or than the smallest number
    accuracy:   it may change what a model learns
    aliases:    other words that a suite may use, in upper or lower case, each with its value
    words:      examples for a setting of free text
    synonyms:   what people write instead of its name; `meant`: instead of its values. Only for suggestions
    """

    title: str
    label: Callable[[Any], str] = str
    cell: Callable[[Any], str] | None = None
    quiet: bool = False
    in_process: bool = False
    read_back: Callable[[Any], bool] | None = None
    cause: str = ""
    if_differs: Literal["ignored", "told", "refused"] = "told"
    effect: bool = False
    accuracy: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    meant: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, value: Any) -> Any:
        """The value for which an alias stands."""
        by_lower = {alias.lower(): meant for alias, meant in self.aliases.items()}
        return by_lower.get(value.lower(), value) if isinstance(value, str) else value
