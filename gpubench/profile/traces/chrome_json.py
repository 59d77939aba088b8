"""Reads JSON as tools that write traces get it wrong, and numbers as they write them."""

import gzip
import json
import re
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

from gpubench.profile.traces.trace import MOST_NS, TraceError, decoded

EXPECTED = "Expected a file made by torch.profiler's export_chrome_trace (torch 1.8.1 or newer)."
_DECIMALS = 3
_DIGITS = 15
_GZIP_MAGIC = b"\x1f\x8b"


def load(path: Path) -> Any:
    """Floats stay text: a time in microseconds since 1970 with three decimals does not fit into a double.

    Names may hold what JSON forbids (bytes that are no UTF-8, control characters): they are the program's, and Kineto
    writes them as they are. NaN and Infinity are read as unknown. A list may lack its last bracket, as the format
    allows.
    """
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP_MAGIC:
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(
            f"{path} is a damaged gzip file: {error}.", hint="Was the program that wrote it killed?"
        ) from error
    text = decoded(content)
    try:
        return _parse(text)
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            first, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
            if is_nsys_row(first):  # one object a line
                return first
        if text.lstrip().startswith("["):
            try:
                return _parse(text.rstrip().rstrip(",") + "]")
            except ValueError:
                pass  # not only the bracket is missing: the first error says where
        raise TraceError(f"{path} is not JSON: {error}.", hint=_why_not_json(text, error)) from error
    except RecursionError as error:
        raise TraceError(f"{path} is JSON nested too deeply to be a trace.", hint=EXPECTED) from error


def is_nsys_row(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and not {"ph", "traceEvents"} & document.keys()
        and any(key in ("data", "Type") or key.endswith("Event") for key in document)
    )


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_constant=lambda _: None, strict=False)


EXPORT_TO_SQLITE = "Export it to SQLite, which is read: nsys export --type sqlite REPORT.nsys-rep"
_BARE_WORD = re.compile(r"[-+]?[A-Za-z][\w./#-]*")


def _why_not_json(text: str, error: ValueError) -> str:
    """The way out, by what stands where reading stopped."""
    if not isinstance(error, json.JSONDecodeError):  # a number of thousands of digits
        return EXPECTED
    here = text[error.pos : error.pos + 40]
    word = _BARE_WORD.match(here)
    if "escape" in error.msg:
        return (
            f"The backslash in line {error.lineno} is not escaped, as in a Windows path: write it twice (\\\\), or "
            "profile again without with_stack."
        )
    if error.msg == "Extra data":
        return (
            f"A second document begins in line {error.lineno}: did several processes write this file at the same time? "
            "Give the trace of each rank a different name."
        )
    if word:
        return f"The word {word[0]} in line {error.lineno} is no value of JSON: write null instead."
    if not text[error.pos :].strip() or "Unterminated string" in error.msg:
        return "A trace that was cut off while it was written cannot be read."
    return f"See line {error.lineno}, column {error.colno}. {EXPECTED}"


def looks_like_one(head: bytes) -> bool:
    """Whether the first bytes of a file may be a trace of this kind."""
    return head[:2] == _GZIP_MAGIC or decoded(head).lstrip()[:1] in ("{", "[")


def nanoseconds(microseconds: Any) -> int | None:
    """Exact for what Kineto writes: an integer, or text of an integer and up to three decimals."""
    if type(microseconds) is int:
        found = microseconds * 1000
    elif isinstance(microseconds, str):
        whole, _, decimals = microseconds.partition(".")
        if len(whole) <= _DIGITS and len(decimals) <= _DECIMALS and (whole + decimals).isdecimal():
            return int(whole + decimals.ljust(_DECIMALS, "0"))
        try:
            value = _decimal(microseconds) * 1000
            found = round(value) if abs(value) < MOST_NS else MOST_NS
        except (ArithmeticError, ValueError):
            return None
    else:
        return None
    return found if abs(found) < MOST_NS else None


def integer(value: Any) -> int | None:
    """None for anything but a whole number of 64 bits."""
    if type(value) is not int:
        try:
            number = _decimal(value) if isinstance(value, str) else None
            if number is None or not abs(number) < MOST_NS or number % 1:
                return None
        except (ArithmeticError, ValueError):
            return None
        return int(number)
    return value if abs(value) < MOST_NS else None


def is_name(value: Any) -> bool:
    """Whether it is a text, and not of a number (numbers with a point are read as text, too)."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        _decimal(value)
    except (ArithmeticError, ValueError):
        return True
    return False


def _decimal(text: str) -> Decimal:
    """ValueError for what only Python reads as a number: `4000_1` names two."""
    if "_" in text:
        raise ValueError(text)
    return Decimal(text)


def number(value: Any) -> int:
    """Process, thread, device and stream numbers. Kineto's own tracks are called by text; they need only differ."""
    found = integer(value)
    return found if found is not None else -1 - zlib.crc32(str(value).encode())
