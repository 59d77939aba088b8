"""What a precision asks for, and what a step really computes in.

Types, layouts and modes are seen below autograd and autocast while a step runs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gpubench.suite.model.precisions import PRECISIONS

_NAMES = "convolution _convolution conv1d conv2d conv3d cudnn_convolution mkldnn_convolution thnn_conv2d"
CONVOLUTIONS = frozenset(_NAMES.split()) | {"miopen_convolution"}
PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "linear", "matmul"})


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


def dtype_name(dtype: torch.dtype | None) -> str | None:
    """`float32`, not `torch.float32`."""
    return None if dtype is None else str(dtype).removeprefix("torch.")


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the type of every convolution's and matrix product's result, and the layout of a convolution's inputs.

    For steps that are not measured: it slows each operator down by tens of microseconds, and does not see into a
    compiled or graphed step.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.convolution_dtypes: Counter[str] = Counter()
        self.product_dtypes: Counter[str] = Counter()
        self.input_layouts: list[str] = []
        self.weight_layouts: list[str] = []
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if name in CONVOLUTIONS:
            self.convolution_dtypes[str(dtype_name(result.dtype))] += 1
            self._note_layout(args[0], self.input_layouts)
            self._note_layout(args[1], self.weight_layouts)
        elif name in PRODUCTS:
            self.product_dtypes[str(dtype_name(result.dtype))] += 1
        return result

    @staticmethod
    def _note_layout(tensor: torch.Tensor, seen: list[str]) -> None:
        layout = layout_of(tensor)
        if layout is not None:
            seen.append(layout)

    def facts(self) -> dict[str, Any]:
        """`compute_dtype`: the types of all convolutions and products, joined by `+`; None without any.

        `memory_format`: of the first convolution's input and of every convolution's weights, `mixed` if they disagree.
        What layers in between do to the layout is counted in `extra`.
        """
        layouts = set(self.input_layouts[:1] + self.weight_layouts)
        return {
            "compute_dtype": "+".join(sorted({*self.convolution_dtypes, *self.product_dtypes})) or None,
            "memory_format": layouts.pop() if len(layouts) == 1 else ("mixed" if layouts else None),
            "extra": {
                "convolution_dtypes": dict(self.convolution_dtypes),
                "product_dtypes": dict(self.product_dtypes),
                "convolution_input_layouts": dict(Counter(self.input_layouts)),
                "convolution_weight_layouts": dict(Counter(self.weight_layouts)),
            },
        }


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


def observe(call: Callable[[], Any]) -> dict[str, Any]:
    """Runs `call` once and says what it computed in (see `Observer.facts`)."""
    with Observer() as observer, no_autotuning():
        call()
    facts: dict[str, Any] = observer.facts()
    return facts


def observe_forward(model: torch.nn.Module, call: Callable[[], Any], device_type: str) -> dict[str, Any]:
    """`observe`, with the modes that held where the model's own forward was entered and the type of its output."""
    modes: dict[str, Any] = {}

    def entered(module: torch.nn.Module, _inputs: Any) -> None:
        autocast = torch.is_autocast_enabled(device_type)
        modes["autocast_dtype"] = dtype_name(torch.get_autocast_dtype(device_type)) if autocast else None
        modes["training"] = any(child.training for child in module.modules())
        modes["inference_mode"] = torch.is_inference_mode_enabled()

    def left(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        logits = output if isinstance(output, torch.Tensor) else output[0]
        modes["output_dtype"] = dtype_name(logits.dtype)

    hooks = [model.register_forward_pre_hook(entered), model.register_forward_hook(left)]
    try:
        facts: dict[str, Any] = observe(call)
    finally:
        for hook in hooks:
            hook.remove()
    return {**facts, **modes}
