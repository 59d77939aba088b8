"""What a precision setting means for weights, inputs and the forward pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from gpubench.suite.model.case import Precision


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


NUMERICS: dict[Precision, Numerics] = {
    "fp32": Numerics(torch.float32, None, scaled=False),
    "tf32": Numerics(torch.float32, None, scaled=False),
    "amp-fp16": Numerics(torch.float32, torch.float16, scaled=True),
    "amp-bf16": Numerics(torch.float32, torch.bfloat16, scaled=False),
    "fp16": Numerics(torch.float16, None, scaled=False),
    "bf16": Numerics(torch.bfloat16, None, scaled=False),
}


def autocast_of(precision: Precision, device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """Makes the context a forward runs in: autocast to the precision's type on this device, or nothing.

    The context is made anew for every step, so that autocast's cache of cast weights never outlives an optimizer step.
    """
    dtype = NUMERICS[precision].autocast
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device_type, dtype=dtype)
