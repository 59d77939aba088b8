"""Quantities as users write and read them.

Inside gpubench every quantity is SI with its unit in its name: text is parsed on the way in and formatted on the way
out.
"""

import math
import re
import sys
from collections.abc import Callable

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zµ%]*)\s*")
_PER_HOUR = re.compile(r"(\d+(?:\.\d+)?|\.\d+)/h")
_COMPOUND = re.compile(rf"({_NUMBER})\s*(ms|us|µs|ns|s|min|m|h)\s*")

_SECONDS = {"": 1.0, "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_FRACTIONS = {"": 1.0, "%": 1e-2, "pp": 1e-2, "bp": 1e-4}
_BYTES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

GIB = 2**30
MIB = 2**20
_MOST_DECIMALS = 9


def _parse(text: str | float, units: dict[str, float] | dict[str, int], what: str) -> float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        kinds = {bool: "a boolean", list: "a list", tuple: "a list", dict: "a mapping", type(None): "nothing"}
        raise ValueError(f"expected {what}, got {kinds.get(type(text), type(text).__name__)}")
    if isinstance(text, int | float):
        value = float(text) if abs(text) <= sys.float_info.max else math.inf
    else:
        match = _QUANTITY.fullmatch(text)
        if match is None or match[2] not in units:
            known = ", ".join(unit for unit in units if unit)
            raise ValueError(f"expected {what} (a number with one of: {known}), got {text!r}")
        value = float(match[1]) * units[match[2]]
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {text!r}")
    return value


def parse_duration(text: str | float) -> float:
    """Seconds from `2s`, `500ms`, `20m`, `1h30m` or a plain number of seconds. ValueError if it is none of these."""
    if isinstance(text, str):
        parts = _COMPOUND.findall(text)
        if len(parts) > 1 and not _COMPOUND.sub("", text).strip():
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _parse(text, _SECONDS, "a duration")


def parse_price(text: object) -> float:
    """Money per hour, in any currency, from `2.5/h`. ValueError if it is none, or not above 0."""
    found = _PER_HOUR.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < float(found[1]) < math.inf:
        raise ValueError(f"expected money per hour, such as 2.5/h, got {text!r}")
    return float(found[1])


def parse_fraction(text: str | float) -> float:
    """A fraction from `1%`, `1pp` (percentage point) or a plain fraction such as 0.01. ValueError otherwise."""
    return _parse(text, _FRACTIONS, "a fraction")


def parse_bytes(text: str | float) -> int:
    """Bytes from `512MiB`, `2GB` or a plain number of bytes. ValueError otherwise."""
    return round(_parse(text, _BYTES, "a size"))


def group_digits(text: str) -> str:
    """Thousands apart by a narrow no-break space in the integer part: `1395.2` -> `1 395.2` (U+202F)."""
    sign, rest = (text[0], text[1:]) if text[:1] in "+-" else ("", text)
    whole, dot, decimals = rest.partition(".")
    if len(whole) < 4 or not whole.isdigit():
        return text
    head = len(whole) % 3
    groups = ([whole[:head]] if head else []) + [whole[i : i + 3] for i in range(head, len(whole), 3)]
    return sign + "\u202f".join(groups) + dot + decimals


def decimals_for(value: float, half_width: float | None, *, most: int = 6) -> int:
    """Decimals to print so that the last digit is of the order of the uncertainty.

    Without a known half-width three significant digits are kept. `most` caps the answer. The integer part of a number
    is always printed whole.
    """
    if value == 0 or not math.isfinite(value):
        return 0
    if half_width is not None and half_width > 0 and math.isfinite(half_width):
        needed = -math.floor(math.log10(half_width))
    else:
        needed = 2 - math.floor(math.log10(abs(value)))
    return max(0, min(most, needed))


def format_number(value: float, half_width: float | None = None, *, most: int = 6) -> str:
    """A number whose digits follow its uncertainty: `format_number(2894.3, 11.6)` -> `2 894`."""
    return f"{value:,.{decimals_for(value, half_width, most=most)}f}".replace(",", "\u202f")


def format_percent(fraction: float, *, signed: bool = False, decimals: int | None = None) -> str:
    """`0.0042` -> `0.4%`; two decimals below 0.095 %; `signed` always shows the sign."""
    percent = fraction * 100
    if decimals is None:
        size = abs(percent)
        decimals = 2 if 0 < size < 0.095 else 1 if size < 99.5 else 0
    return f"{percent:{'+' if signed else ''}.{decimals}f}%"


def told_apart(first: float, second: float, write: Callable[..., str] = format_percent) -> tuple[str, str]:
    """Two numbers with enough digits that they look equal only if they are.

    `write(value)` and `write(value, decimals=3)` print one.
    """
    texts, decimals = (write(first), write(second)), 0
    while texts[0] == texts[1] and first != second and decimals < _MOST_DECIMALS:
        decimals += 1
        texts = write(first, decimals=decimals), write(second, decimals=decimals)
    return texts


def format_watts(watts: float, *, decimals: int = 0) -> str:
    return f"{watts:.{decimals}f} W"


def format_significant(value: float, *, decimals: int = 1) -> str:
    """`0.02`, `2.1e-05`: one digit more than `decimals`."""
    return f"{value:.{decimals + 1}g}"


def format_duration(seconds: float) -> str:
    """For people: `350 ms`, `4.2 s`, `18m 12s`, `2h 05m`. A stored number may be anything: `unknown`, `1e+30 s`."""
    if not math.isfinite(seconds):
        return "unknown"
    if abs(seconds) > 1e9:
        return f"{seconds:.0e} s"
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def format_seconds(seconds: float, *, decimals: int | None = None) -> str:
    """As `format_duration`, or in milliseconds with so many decimals."""
    return format_duration(seconds) if decimals is None else f"{seconds * 1e3:.{decimals}f} ms"


def format_bytes(num_bytes: float) -> str:
    """Binary units: `11.6 GiB`, `512 MiB`, `3 B`."""
    size = abs(num_bytes)
    for unit, scale in (("TiB", 2**40), ("GiB", GIB), ("MiB", MIB), ("KiB", 2**10)):
        if size >= scale:
            value = num_bytes / scale
            return f"{value:.{1 if abs(value) < 99.95 else 0}f} {unit}"
    return f"{num_bytes:.0f} B"
