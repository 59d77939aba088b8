"""Messages on wrong values and names, in the words of a suite file, with what was probably meant."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpubench.core.did_you_mean import near
from gpubench.suite.model.case import SPECS

SYNONYMS = {
    **{word: name for name, spec in SPECS.items() for word in spec.synonyms},
    **{word: value for spec in SPECS.values() for word, value in spec.meant.items()},
}
"""What people write instead of a name or a value."""
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "settings (`name: value`)",
    "mapping_type": "settings (`name: value`)",
    "model_type": "settings (`name: value`)",
    "model_attributes_type": "settings (`name: value`)",
}
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LONGEST = 60


def near_word(word: str, known: Iterable[str]) -> str:
    """`did you mean 'memory_format'?` for `layout`; else the nearest of `known`; empty if none is near."""
    return near(word, known, SYNONYMS)


def said_of(error: Mapping[str, Any], words: Sequence[str] = ()) -> tuple[str, str]:
    """Message and suggestion for one entry of `ValidationError.errors()`. `words` are valid values."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "literal_error":
        return _unknown(value, words or re.findall(r"'([^']*)'", context.get("expected", "")))
    if kind == "string_pattern_mismatch":
        return (
            _unknown(value, words)
            if words
            else (f"{shown(value)} is not written as it must be", f"it has to match {context['pattern']}")
        )
    if kind in _EXPECTED:
        hint = "put it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""
        hint = "put it in brackets: [...]" if kind == "list_type" and not isinstance(value, dict) else hint
        return f"expected {_EXPECTED[kind]}, got {shown(value)}", hint
    if kind in _LIMITS:
        said, key = _LIMITS[kind]
        return f"must be {said} {context[key]:g}, got {shown(value)}", ""
    if kind == "value_error":
        return str(context.get("error", error["msg"])), ""
    if kind == "too_short":
        return "needs at least one value", ""
    text = str(error["msg"])
    return text[:1].lower() + text[1:], ""


def _unknown(value: Any, words: Sequence[str]) -> tuple[str, str]:
    """An unknown word, and the nearest known one, or all of them if they are few."""
    message = f"unknown value {shown(value)}"
    return message, near_word(str(value), words) or (f"choose from {', '.join(words)}" if words else "")


def shown(value: Any) -> str:
    """A value as shown in a message: short, booleans and null as YAML writes them."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict | list):
        return "settings" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
