"""The words of a report for settings and their values."""

from collections.abc import Iterable
from typing import Any

from gpubench.suite.model.case import SPECS, Case


def title(name: str) -> str:
    """The column title of a setting."""
    return SPECS[name].title if name in SPECS else name


def word(name: str, value: Any) -> str:
    """A value of the setting `name` in a table: `channels_last` is NHWC, a yes-or-no is `on` or `off`."""
    spec = SPECS.get(name)
    if spec is not None and spec.cell is not None:
        return spec.cell(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def varying(cases: Iterable[Case]) -> tuple[str, ...]:
    """Settings in which these cases differ, in the order of `Case`."""
    everything = list(cases)
    return tuple(name for name in Case.model_fields if len({repr(getattr(case, name)) for case in everything}) > 1)
