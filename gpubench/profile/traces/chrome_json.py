"""Reads the JSON and the numbers of Chrome traces, including common mistakes of the tools that write them."""

import gzip
import json
import re
import zlib
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from gpubench.profile.traces.trace import MOST_NS, TraceError, decoded

EXPECTED = "Expected a file made by torch.profiler's export_chrome_trace (torch 1.8.1 or newer)."
_EVENTS = '"traceEvents"'
_DECIMALS = 3
_DIGITS = 15
_GZIP_MAGIC = b"\x1f\x8b"


def load(path: Path) -> Any:
    """Keeps floats as text, because microseconds since 1970 with three decimals do not fit a double.

    Accepts what strict JSON forbids: names with control characters or bytes that are not UTF-8 (Kineto copies the
    program's names), NaN and Infinity (read as unknown), and a list without its closing bracket, which the format
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
            if is_nsys_row(first):  # one JSON object per line
                return first
        if text.lstrip().startswith("["):
            try:
                return _parse(text.rstrip().rstrip(",") + "]")
            except ValueError:
                pass  # more than the bracket is missing: report the first error
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
    joined = _joined if text.count(_EVENTS) > 1 else None  # a hook of Python's for every object is slow
    return json.loads(text, parse_float=str, parse_constant=lambda _: None, strict=False, object_pairs_hook=joined)


def _joined(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Events of a name that occurs twice, of which JSON's readers keep the last, are put together."""
    lists = [value for name, value in pairs if name == "traceEvents" and isinstance(value, list)]
    return {**dict(pairs), **({"traceEvents": list(chain(*lists))} if len(lists) > 1 else {})}


EXPORT_TO_SQLITE = "Export it to SQLite, which is read: nsys export --type sqlite REPORT.nsys-rep"
_BARE_WORD = re.compile(r"[-+]?[A-Za-z][\w./#-]*")


def _why_not_json(text: str, error: ValueError) -> str:
    """A hint, by what is at the position where parsing failed."""
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
    """Whether a file that begins with these bytes may be a Chrome trace."""
    return head[:2] == _GZIP_MAGIC or decoded(head).lstrip()[:1] in ("{", "[")


def nanoseconds(microseconds: Any) -> int | None:
    """Exact for what Kineto writes: an integer, or the text of a number with up to three decimals."""
    if type(microseconds) is int:
        result_ns = microseconds * 1000
    elif isinstance(microseconds, str):
        whole, _, decimals = microseconds.partition(".")
        if len(whole) <= _DIGITS and len(decimals) <= _DECIMALS and (whole + decimals).isdecimal():
            return int(whole + decimals.ljust(_DECIMALS, "0"))
        try:
            value = _decimal(microseconds) * 1000
            result_ns = round(value) if abs(value) < MOST_NS else MOST_NS
        except (ArithmeticError, ValueError):
            return None
    else:
        return None
    return result_ns if abs(result_ns) < MOST_NS else None


def integer(value: Any) -> int | None:
    """None for anything but a 64-bit integer."""
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
    """Whether `value` is text that is not a number (numbers with a decimal point are kept as text)."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        _decimal(value)
    except (ArithmeticError, ValueError):
        return True
    return False


def _decimal(text: str) -> Decimal:
    """ValueError for notations that only Python accepts, such as `4000_1`."""
    if "_" in text:
        raise ValueError(text)
    return Decimal(text)


def number(value: Any) -> int:
    """Id of a process, thread, device or stream. Kineto's named tracks get numbers that only have to differ."""
    found = integer(value)
    return found if found is not None else -1 - zlib.crc32(str(value).encode())
