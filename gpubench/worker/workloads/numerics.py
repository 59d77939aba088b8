"""What each precision means in torch's terms."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

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


_CASTS = {
    torch.float64: nn.Module.double,
    torch.float32: nn.Module.float,
    torch.float16: nn.Module.half,
    torch.bfloat16: nn.Module.bfloat16,
}


def cast_floats(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same module with its floating-point parameters and buffers in `dtype`. Complex ones stay, which
    `model.to(dtype)` would make real.
    """
    return _CASTS[dtype](model)


def give_lazy_sizes(model: nn.Module, inputs: Callable[[], Any]) -> None:
    """Runs a model with lazy layers once, in evaluation mode, so that they take their sizes from `inputs()`."""
    if any(map(is_lazy, model.parameters())):
        with torch.no_grad():
            model.eval()(inputs())


def own_dtype(model: nn.Module) -> torch.dtype:
    """That of the first floating-point parameter; float32 if there is none."""
    return next((each.dtype for each in model.parameters() if each.is_floating_point()), torch.float32)


def real_parts(tensor: torch.Tensor) -> torch.Tensor:
    """Real and imaginary parts of a complex tensor, in one more dimension at the end; other tensors unchanged."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def without_masked(got: torch.Tensor, expected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both, of one shape, with 0 where they are the same infinity: what a mask leaves out."""
    masked = torch.isinf(expected) & (got == expected)
    return got.masked_fill(masked, 0), expected.masked_fill(masked, 0)


NOT_SEEN = "not seen"
"""The effective value of a setting that the watched steps did not show. It is not judged."""

PARTLY_WATCHED = ("unseen_operators", "unwatched")
"""Facts of watched steps that tell of operators that were not seen."""


def dtype_name(dtype: torch.dtype | None) -> str | None:
    """`float32`, not `torch.float32`."""
    return None if dtype is None else str(dtype).removeprefix("torch.")


def real_dtype_name(tensor: torch.Tensor) -> str:
    """The dtype of a tensor; of a complex one, that of its real and imaginary parts."""
    return str(dtype_name(tensor.dtype.to_real() if tensor.is_complex() else tensor.dtype))


def parameter_dtype(model: nn.Module) -> str:
    """The dtypes of the parameters, joined by `+`. What no precision converts (complex numbers, integers) counts only
    where there is nothing else.
    """
    parameters = list(model.parameters())
    converted = [each for each in parameters if each.is_floating_point()]
    computing = converted or [each for each in parameters if each.is_complex()]
    return "+".join(sorted({real_dtype_name(each) for each in computing or parameters}))


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
