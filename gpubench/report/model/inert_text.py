"""Text from outside (labels, paths, messages, environment values) made harmless to show."""

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

# Control, format (bidi marks, zero-width, tags), surrogate, private use, unassigned, line and paragraph separators.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_NOT_PLAIN = re.compile(r"[^ -~]")
# GitHub reads `::name` at the beginning of a line, after spaces; its older form and Azure's anywhere in a line.
_COMMAND = re.compile(r"(?<!\S)::(?=[A-Za-z])|##(?=[\w.-]*\[)")


def inert(text: str) -> str:
    """One line of visible characters: characters that move the cursor, or reverse, hide or break text, are spelled out.

    An escape character becomes its Python spelling (four characters), a newline too (two). Text that a CI service would
    read from a log as a command (`::error::`, `##[group]`, `##vso[task]`) gets its second character escaped.
    """
    if text.isprintable() and "##" not in text and "::" not in text:
        return text
    text = _COMMAND.sub(lambda found: f"{found[0][0]}\\x{ord(found[0][1]):02x}", text)
    return _NOT_PLAIN.sub(lambda found: _spelled(found[0]), text)


def inert_lines(text: str) -> str:
    """The same for several lines: newlines stay, tabs become spaces."""
    return "\n".join(inert(line) for line in text.expandtabs(4).split("\n"))


def json_text(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """A value as ASCII JSON, harmless to terminals and CI services."""
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
    """Text of at most `width` columns, shortened in the middle. For names, never for numbers."""
    if cell_width(text) <= width:
        return text
    keep = max(width - 3, 2)
    head = keep - keep // 2
    return f"{text[:head]}...{text[len(text) - keep // 2 :]}"
