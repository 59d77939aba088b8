"""JSON from any source; numbers that no figure can be are refused on reading."""

import math
import re
import sys
from typing import Any

from pydantic_core import from_json

_ALIKE = bytes.maketrans(b"0123456789E", b"0000000000e")
_LARGE = re.compile(rb'0e\+?000(?!0*[A-Za-z_"])')
"""An exponent of three digits, all digits being zeros. In a case's digest (`"4e305c"`), more of a text follows it."""


def parse_json(content: bytes, *, finite: bool = True) -> Any:
    """The document. ValueError if it is no JSON, or holds an integer that no float can hold; if `finite` also for NaN
    and for numbers that become infinite.
    """
    document = from_json(content, allow_inf_nan=not finite)
    if _may_be_beyond(content):
        _check(document, finite=finite)
    return document


def _may_be_beyond(content: bytes) -> bool:
    """Spares nearly every document the search: a number beyond all floats is long, or has a large exponent."""
    alike = content.translate(_ALIKE)
    named = b"NaN" in content or b"Infinity" in content
    return named or b"0" * 200 in alike or _LARGE.search(alike) is not None


def _check(document: Any, *, finite: bool) -> None:
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ValueError("it has a number beyond 1e308, which no figure can be")
        elif finite and isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"it has the number {value}, which no figure can be")
