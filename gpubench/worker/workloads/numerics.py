"""What a precision setting means for weights, inputs and the forward pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from gpubench.suite.model.precisions import PRECISIONS


class Numerics(NamedTuple):
    """`weights` is the type parameters and images are held in, `autocast` the type autocast casts to (None: no
    autocast), `scaled` whether a GradScaler is needed.
    """

    weights: torch.dtype
    autocast: torch.dtype | None
    scaled: bool

    @property
    def compute(self) -> torch.dtype:
        """The type convolutions and matrix products must produce."""
        return self.autocast or self.weights


NUMERICS: dict[str, Numerics] = {
    name: Numerics(
        getattr(torch, spec.weights), None if spec.autocast is None else getattr(torch, spec.autocast), spec.scaled
    )
    for name, spec in PRECISIONS.items()
}


def autocast_of(precision: str, device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """Makes the context a forward runs in: autocast to the precision's type on this device, or nothing.

    Every step gets a new context, so that autocast's cache of cast weights never outlives an optimizer step.
    """
    dtype = NUMERICS[precision].autocast
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device_type, dtype=dtype)
