"""What a precision asks for, and what a step really computes in.

Types, layouts and modes are seen below autograd and autocast while a step runs.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpubench.suite.model.precisions import PRECISIONS

CONVOLUTION = re.compile(r"q?conv\w*|miopen|deform\w*")
PRODUCT = re.compile(r"[a-z]*(mm|matmul|gemm|gemv|mv|dot|linear|attention|attn|lstm|gru|rnn|einsum)|transformer")
"""A word of an operator's name, by which an operator of any library is a convolution or a product."""

_QUANTISED = ("quantized", "onednn")
_COPIES = re.compile(r"_?to(_copy)?|copy_?|clone|contiguous|empty\w*|new_\w+|\w+_like|detach|alias|lift\w*")
"""What only moves or makes values computes in nothing."""


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


NOT_SEEN = "not seen"
"""Read back for a setting whose effect the watched step did not show. It is not judged."""


def dtype_name(dtype: torch.dtype | None) -> str | None:
    """`float32`, not `torch.float32`."""
    return None if dtype is None else str(dtype).removeprefix("torch.")


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the types that every operator computes in, and the layout of a convolution's inputs.

    For steps that are not measured: it slows each operator down by tens of microseconds, and does not see into a
    compiled or graphed step, nor what no torch operator does.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.convolution_dtypes: Counter[str] = Counter()
        self.product_dtypes: Counter[str] = Counter()
        self.other_dtypes: Counter[str] = Counter()
        self.input_layouts: list[str] = []
        self.weight_layouts: list[str] = []
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name: str = func.overloadpacket.__name__
        self.calls[name] += 1
        words = name.strip("_").split("_")
        taken = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
        if any(map(CONVOLUTION.fullmatch, words)):
            self.convolution_dtypes[_operands(func, taken)] += 1
            if len(taken) > 1 and "backward" not in words:
                self._note_layout(taken[0], self.input_layouts)
                self._note_layout(taken[1], self.weight_layouts)
        elif any(map(PRODUCT.fullmatch, words)):
            self.product_dtypes[_operands(func, taken)] += 1
        elif taken and not _COPIES.fullmatch(name):
            given = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            self.other_dtypes.update({_type(each) for each in (*taken, *given) if each.numel() > 1 and _computes(each)})
        return result

    @staticmethod
    def _note_layout(tensor: torch.Tensor, seen: list[str]) -> None:
        layout = layout_of(tensor)
        if layout is not None:
            seen.append(layout)

    def facts(self) -> dict[str, Any]:
        """`compute_dtype`: the types of all convolutions and products, joined by `+`; in a step without any, the
        floating-point types of all other operators; None where there were none of those either.

        `memory_format`: of the first convolution's input and of every convolution's weights, `mixed` if they disagree.
        What layers in between do to the layout is counted in `extra`.
        """
        layouts = set(self.input_layouts[:1] + self.weight_layouts)
        products = {each for key in (*self.convolution_dtypes, *self.product_dtypes) for each in key.split("+")}
        return {
            "compute_dtype": "+".join(sorted(products or self.other_dtypes)) or None,
            "memory_format": layouts.pop() if len(layouts) == 1 else ("mixed" if layouts else None),
            "extra": {
                "convolution_dtypes": dict(self.convolution_dtypes),
                "product_dtypes": dict(self.product_dtypes),
                "other_dtypes": dict(self.other_dtypes),
                "convolution_input_layouts": dict(Counter(self.input_layouts)),
                "convolution_weight_layouts": dict(Counter(self.weight_layouts)),
            },
        }


def _operands(func: Any, taken: list[torch.Tensor]) -> str:
    """What a product multiplies: the types of its first two tensors, where an int64 beside a float is an index.

    Quantised operators take float32 and hide their weights; their names say what they multiply.
    """
    if func.namespace in _QUANTISED:
        return "float16" if "fp16" in func.overloadpacket.__name__ else "int8"
    floats = {_type(each) for each in taken[:2] if _computes(each) or each.dtype.itemsize == 1}
    return "+".join(sorted((floats or {_type(each) for each in taken[:2]}) - {"bool"}))


def _computes(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _type(tensor: torch.Tensor) -> str:
    """Complex numbers are computed in the type of their parts."""
    return str(dtype_name(tensor.dtype.to_real() if tensor.is_complex() else tensor.dtype))


class _AutocastWatch(TorchFunctionMode):
    """The type that autocast casts to, where a torch function was called under it: operators do not show that."""

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.dtype: str | None = None
        self._device_type = device_type

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_autocast_enabled(self._device_type):
            self.dtype = dtype_name(torch.get_autocast_dtype(self._device_type))
        return func(*args, **(kwargs or {}))


def layout_of(tensor: torch.Tensor) -> str | None:
    """`contiguous` or `channels_last`; None if the sizes make them the same (one channel, 1 x 1) or it is neither."""
    if tensor.ndim != 4:
        return None
    contiguous = tensor.is_contiguous()
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last)
    if contiguous == channels_last:
        return None
    return "channels_last" if channels_last else "contiguous"


@contextmanager
def no_autotuning() -> Iterator[None]:
    """Inside, cuDNN tries no algorithms, which costs time and workspace for shapes that no measured step has."""
    cudnn = torch.backends.cudnn
    was_on = cudnn.benchmark
    cudnn.benchmark = False
    try:
        yield
    finally:
        cudnn.benchmark = was_on


def observe(call: Callable[[], Any], device_type: str = "cpu") -> dict[str, Any]:
    """Runs `call` once and says what it computed in (see `Observer.facts`), and under which autocast."""
    with _AutocastWatch(device_type) as autocast, Observer() as observer, no_autotuning():
        call()
    facts: dict[str, Any] = observer.facts()
    return {**facts, "autocast_dtype": autocast.dtype}
