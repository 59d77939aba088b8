"""Text from outside (labels, paths, messages, environment values) made harmless to show."""

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

# Control, format (bidi marks, zero-width, tags), surrogate, private use, unassigned, line and paragraph separators.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_NOT_PLAIN = re.compile(r"[^ -~]")
# GitHub reads `::name` at the beginning of a line, after spaces; its older form and Azure's are read anywhere in it.
_COMMAND = re.compile(r"(?<!\S)::(?=[A-Za-z])|##(?=[\w.-]*\[)")


def inert(text: str) -> str:
    """One line of visible characters: what moves a cursor, turns text around, hides or breaks it is spelled out.

    An escape character becomes the four characters of its Python spelling, a newline its two. What a CI service would
    take from a log as a command (`::error::`, `##[group]`, `##vso[task]`) has its second character escaped, too.
    """
    if text.isprintable() and "##" not in text and "::" not in text:
        return text
    text = _COMMAND.sub(lambda found: f"{found[0][0]}\\x{ord(found[0][1]):02x}", text)
    return _NOT_PLAIN.sub(lambda found: _spelled(found[0]), text)


def inert_lines(text: str) -> str:
    """The same for text of several lines: newlines stay, tabs become spaces."""
    return "\n".join(inert(line) for line in text.expandtabs(4).split("\n"))


def json_text(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """A value as JSON in ASCII, in which nothing moves a terminal or is a command to a CI service."""
    return json.dumps(value, indent=indent, default=default, allow_nan=False, ensure_ascii=True).replace(
        "##", "#\\u0023"
    )


def _spelled(char: str) -> str:
    if unicodedata.category(char) not in _HARMFUL:
        return char
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell_width(text: str) -> int:
    """Columns a terminal gives to `text`: two for wide East Asian characters and emoji, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shorten(text: str, width: int) -> str:
    """Text of at most `width` columns, its middle left out if need be. For names, never for numbers."""
    if cell_width(text) <= width:
        return text
    keep = max(width - 3, 2)
    head = keep - keep // 2
    return f"{text[:head]}...{text[len(text) - keep // 2 :]}"
