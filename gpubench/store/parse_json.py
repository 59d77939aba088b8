"""JSON from any source; numbers that no figure can be are refused on reading."""

import math
import re
import sys
from typing import Any

from pydantic_core import from_json

_SUSPECT = re.compile(rb"NaN|Infinity|\d{300}|[eE]\+?0*[3-9]\d\d|[eE]\+?\d{4}")
"""A quick test that spares nearly every document the search: a number too large for a float is long, or has such an
exponent.
"""


def parse_json(content: bytes, *, finite: bool = True) -> Any:
    """The document. ValueError if it is no JSON, or holds an integer that no float can hold; if `finite` also for NaN
    and for numbers that become infinite.
    """
    document = from_json(content, allow_inf_nan=not finite)
    if _SUSPECT.search(content):
        _check(document, finite=finite)
    return document


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
