"""The settings of a case one by one: their names, possible values, and the stored form of a value."""

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.mistake_messages import near_word, said_of, shown
from gpubench.suite.model.workload_names import BUILT_IN, BY_NAME

SETTINGS: tuple[str, ...] = tuple(SPECS)


class BadValue(ValueError):  # noqa: N818 - reads better where it is caught
    """A value that a setting cannot have, with a `suggestion` that may be empty."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message, self.suggestion = message, suggestion


def normal(name: str, value: Any) -> Any:
    """The value as stored in `settings`: `NHWC` becomes channels_last, `"64"` 64. BadValue for an impossible one.

    `name` is one of SETTINGS.
    """
    if isinstance(value, bool) and not (is_switch(name) or name == "compile"):
        wanted = "a number" if is_number(name) else "text"
        raise BadValue(f"expected {wanted}, got {str(value).lower()}")
    try:
        return Case.model_validate({name: value}).settings[name]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if name == "params" and len(first["loc"]) > 2:  # of a parameter, as each of the types that it may have
            wrong = f"`{first['loc'][1]}` must be a number, a word, true or false, got {shown(first['input'])}"
            raise BadValue(wrong) from error
        raise BadValue(*said_of(first, choices(name))) from error


def default(name: str) -> Any:
    return Case.model_fields[name].get_default(call_default_factory=True)


@cache
def choices(name: str) -> tuple[str, ...]:
    """The words a setting may be, for suggestions; empty for a number or free text."""
    words = [word for word in _flat(Case.model_fields[name].annotation) if isinstance(word, str)]
    return (*words, *SPECS[name].words, *SPECS[name].aliases)


def check_workload(name: str) -> None:
    """BadValue for an unknown bare name, operator or collective. The worker looks up modules and torchvision models."""
    kind, colon, rest = name.partition(":")
    if not colon and name not in BUILT_IN:
        # `resnet50` is near `resnet9` but means something else.
        raise BadValue(
            f"unknown value {name!r}", near_word(name, ("cnn",)) or f"choose from {', '.join(choices('workload'))}"
        )
    if kind in BY_NAME and rest not in BY_NAME[kind]:
        known = [f"{kind}:{each}" for each in BY_NAME[kind]]
        nearest = near_word(name, known) if near_word(rest, BY_NAME[kind]) else ""
        raise BadValue(f"unknown value {name!r}", nearest or f"choose from {', '.join(known)}")


def is_number(name: str) -> bool:
    """Whether the values of a setting have an order: batch sizes, learning rates, counts."""
    return bool({int, float} & _parts(name))


def is_switch(name: str) -> bool:
    return bool in _parts(name)


@cache
def _parts(name: str) -> frozenset[Any]:
    """The types and literal words that a setting may be, without None."""
    return frozenset(_flat(Case.model_fields[name].annotation)) - {NoneType}


def _flat(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _flat(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _flat(part)
    elif origin is Literal:
        yield from get_args(annotation)
    else:
        yield annotation
