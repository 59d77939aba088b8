"""Wording for reports: counts, devices, settings and their values, pieces of sentences."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpubench.suite.model.case import SPECS, Case


def count(number: int, thing: str, things: str | None = None) -> str:
    """`1 case`, `3 cases`."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def sentence(text: str) -> str:
    """Text with a capital first letter."""
    return text[:1].upper() + text[1:]


def place(device: str) -> str:
    """`the CPU`, `the GPU`, `GPU 1`."""
    kind, _, number = device.partition(":")
    return "the CPU" if kind == "cpu" else f"GPU {number}" if number else "the GPU"


def task(case: Case) -> str:
    """`Training` or `Inference`; latency is named separately."""
    return "Training" if case.mode == "train" else "Inference"


def left_out_texts(cases: Iterable[tuple[str, str, str]]) -> list[str]:
    """`48 cases and 4 quality runs skipped: no CUDA device`: one text per status and reason, from (kind, status,
    reason) of each case.
    """
    groups: dict[tuple[str, str], Counter[str]] = {}
    for kind, status, reason in cases:
        groups.setdefault((status, reason), Counter())[kind] += 1
    things = {"measure": "case", "quality": "quality run"}
    return [
        f"{joined([count(kinds[kind], thing) for kind, thing in things.items() if kinds[kind]])} {status}"
        + (f": {reason}" if reason else "")
        for (status, reason), kinds in groups.items()
    ]


def pattern(settings: Mapping[str, Any]) -> str:
    """`device=cpu, precision=fp32`."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def ranges(numbers: Iterable[int]) -> str:
    """`1-4, 7, 9-10` from sorted or unsorted whole numbers."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


THROTTLE_REASONS = {
    "power_cap": "power limit",
    "sync_boost": "sync boost",
    "sw_thermal": "heat",
    "hw_thermal": "critical heat",
    "power_brake": "power brake",
}


def title(name: str) -> str:
    """The column title of a setting."""
    return SPECS[name].title if name in SPECS else name


def word(name: str, value: Any) -> str:
    """A value of the setting `name` in a table: `channels_last` is NHWC, a switch is `on` or `off`."""
    spec = SPECS.get(name)
    if spec is not None and spec.cell is not None:
        return spec.cell(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
