"""What each precision means in torch's terms."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from gpubench.suite.model.precisions import PRECISIONS


class Numerics(NamedTuple):
    """`weights`: dtype of parameters and inputs; `autocast`: dtype that autocast casts to (None: no autocast);
    `scaled`: whether a GradScaler is needed.
    """

    weights: torch.dtype
    autocast: torch.dtype | None
    scaled: bool

    @property
    def compute(self) -> torch.dtype:
        """The dtype that convolutions and matrix products must produce."""
        return self.autocast or self.weights


NUMERICS: dict[str, Numerics] = {
    name: Numerics(
        getattr(torch, spec.weights), None if spec.autocast is None else getattr(torch, spec.autocast), spec.scaled
    )
    for name, spec in PRECISIONS.items()
}


def autocast_of(precision: str, device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """Returns a function that makes the context of a forward: autocast to the precision's dtype, or nothing.

    Every step gets a new context, so that autocast's cache of cast weights never outlives an optimizer step.
    """
    dtype = NUMERICS[precision].autocast
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device_type, dtype=dtype)


NOT_SEEN = "not seen"
"""The effective value of a setting that the watched steps did not show. It is not judged."""


def dtype_name(dtype: torch.dtype | None) -> str | None:
    """`float32`, not `torch.float32`."""
    return None if dtype is None else str(dtype).removeprefix("torch.")


def layout_of(tensor: torch.Tensor) -> str | None:
    """`contiguous` or `channels_last`; None for other layouts, or sizes for which the two are the same (one channel, 1
    x 1).
    """
    if tensor.ndim != 4:
        return None
    contiguous = tensor.is_contiguous()
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last)
    if contiguous == channels_last:
        return None
    return "channels_last" if channels_last else "contiguous"


@contextmanager
def no_autotuning() -> Iterator[None]:
    """Switches off cuDNN's search for algorithms, which costs time and workspace for shapes that are not measured."""
    cudnn = torch.backends.cudnn
    was_on = cudnn.benchmark
    cudnn.benchmark = False
    try:
        yield
    finally:
        cudnn.benchmark = was_on
