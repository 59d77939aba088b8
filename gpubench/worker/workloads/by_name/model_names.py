"""Checks model names and parameters against what a library knows."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError

_MOST_SHOWN = 12


def check_name(name: str, known: Sequence[str], what: str, example: str) -> None:
    """UsageError with the nearest names if `name` is not in `known`. `what`: `torchvision has no detection model`."""
    if name not in known:
        meant = near(name, known)
        hint = f"D{meant[1:]}" if meant else f"There are {len(known)}, such as {example}."
        if len(known) <= _MOST_SHOWN:
            hint += f" Known: {', '.join(known)}."
        raise UsageError(f"{what} named {name!r}.", hint=hint)


def check_params(workload: str, params: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """UsageError for a parameter that the workload lacks. `known`: description by parameter."""
    for name in params:
        if name not in known:
            takes = "; ".join(f"`{each}`, {what}" for each, what in known.items()) or "none"
            raise UsageError(f"{workload} has no parameter {name!r}.", hint=f"Its params: {takes}.")
