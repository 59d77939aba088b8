"""What pydantic found wrong, in the words of a suite file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

_EXPECTED = {
    "int_parsing": "a whole number", "int_type": "a whole number", "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number", "float_parsing": "a number", "float_type": "a number",
    "finite_number": "a finite number", "bool_parsing": "true or false", "bool_type": "true or false",
    "string_type": "text", "list_type": "a list", "tuple_type": "a list", "dict_type": "settings (`name: value`)",
    "mapping_type": "settings (`name: value`)", "model_type": "settings (`name: value`)",
    "model_attributes_type": "settings (`name: value`)",
}  # fmt: skip
_LIMITS = {
    "greater_than": ("more than", "gt"), "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"), "less_than_equal": ("at most", "le"),
}  # fmt: skip
_MEANT = {"gpu": "cuda", "half": "fp16", "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "amp": "amp-bf16",
          "training": "train", "inference": "infer", "eval": "infer", "batch": "batch_size", "layout": "memory_format",
          "threads": "cpu_threads", "workers": "num_workers", "lr": "learning_rate"}  # fmt: skip
_LONGEST = 60


def said_of(error: Mapping[str, Any], words: Sequence[str] = ()) -> tuple[str, str]:
    """Message and suggestion for one entry of `ValidationError.errors()`. `words` are known good values."""
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


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean 'fp16'?` for the nearest of `known`, whatever its case; empty where none is near."""
    by_lower = {each.lower(): each for each in known}
    if _MEANT.get(word.lower()) in by_lower:
        return f"did you mean {_MEANT[word.lower()]!r}?"
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[found[0]]!r}?" if found else ""


def _unknown(value: Any, words: Sequence[str]) -> tuple[str, str]:
    """An unknown word, and the nearest known one, or all of them if they are few."""
    message = f"unknown value {shown(value)}"
    return message, near(str(value), words) or (f"choose from {', '.join(words)}" if words else "")


def shown(value: Any) -> str:
    """A value as it may stand in a message: short, booleans and null as YAML writes them."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict | list):
        return "settings" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
