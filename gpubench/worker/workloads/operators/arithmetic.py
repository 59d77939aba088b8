"""`operators:matmul` and `operators:conv2d`: the arithmetic peak of a device."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.workloads.base import Health, ParityProbe, Step
from gpubench.worker.workloads.operators.operator import (
    Operator,
    dtype_of,
    last_cache_bytes,
    num_sets,
    random_tensors,
    rotation,
    sizes,
)

MATMUL_SHAPE = "2048x2048x2048"
CONV2D_SHAPE = "64x56x64x3"
_FP8_MULTIPLE = 16
_CHECKED = 64
"""Rows and columns of the corner of a product that parity compares."""


class _Arithmetic(Operator):
    """`train` adds the gradients of both inputs, each of which costs as much as the forward."""

    trains = True
    shows_burst = True

    def __init__(self) -> None:
        super().__init__()
        self._output: torch.Tensor | None = None

    def health(self) -> Health:
        """Whether the last output was finite. Waits for the device."""
        finite = self._output is None or bool(torch.isfinite(self._output).all().item())
        return Health(finite=finite)

    def close(self) -> None:
        super().close()
        self._output = None

    @staticmethod
    def passes(case: Case) -> int:
        return 3 if case.mode == "train" else 1


class Matmul(_Arithmetic):
    """A (M x K) times B (K x N), both row-major. A step is `batch_size` products. In fp8, B is column-major and the
    result bf16: torch has no other such product (`torch._scaled_mm`, here with scales of 1).
    """

    name = "matmul"

    def _sizes(self, case: Case) -> tuple[int, int, int]:
        found = sizes(case, MATMUL_SHAPE, "`MxNxK`, or one number for a square product", (1, 3))
        rows, columns, inner = found * 3 if len(found) == 1 else found
        return rows, columns, inner

    def flops_per_sample(self, case: Case) -> float:
        rows, columns, inner = self._sizes(case)
        return 2.0 * rows * columns * inner * self.passes(case)

    def bytes_per_sample(self, case: Case) -> float:
        """Each matrix once per product: two read, one written."""
        rows, columns, inner = self._sizes(case)
        taken, given = rows * inner + inner * columns, rows * columns
        num_bytes = taken * dtype_of(case).itemsize + given * _product_type(dtype_of(case)).itemsize
        return float(num_bytes * self.passes(case))

    def refuses(self, case: Case) -> str | None:
        if PRECISIONS[case.precision].products_only and any(size % _FP8_MULTIPLE for size in self._sizes(case)):
            return f"products in {case.precision} need sizes that are multiples of {_FP8_MULTIPLE}"
        return super().refuses(case)

    def make(self, case: Case, device: torch.device) -> Step:
        rows, columns, inner = self._sizes(case)
        dtype, train = dtype_of(case), case.mode == "train"
        num = num_sets(int(self.bytes_per_sample(case)) // self.passes(case), last_cache_bytes(device))
        left = random_tensors(num, (rows, inner), dtype, device, case.seed)
        right = self._right(case, num, device)
        # The gradient of the product, or its place.
        third = random_tensors(num, (rows, columns), _product_type(dtype), device, case.seed + 2)
        multiply = _multiplier(dtype, device)
        if train:
            left, right = _leaves(left), _leaves(right)
        take = rotation(list(zip(left, right, third, strict=True)))
        calls = range(case.batch)

        def product() -> torch.Tensor:
            with torch.inference_mode():
                for _ in calls:
                    a, b, out = take()
                    self._output = multiply(a, b, out=out)
            assert self._output is not None
            return self._output

        def with_gradients() -> torch.Tensor:
            for _ in calls:
                a, b, gradient = take()
                self._output = torch.mm(a, b)
                torch.autograd.grad(self._output, (a, b), gradient)
            assert self._output is not None
            return self._output.detach()

        return with_gradients if train else product

    def _right(self, case: Case, num: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        _, columns, inner = self._sizes(case)
        if not PRECISIONS[case.precision].products_only:
            return random_tensors(num, (inner, columns), dtype_of(case), device, case.seed + 1)
        return tuple(each.t() for each in random_tensors(num, (columns, inner), dtype_of(case), device, case.seed + 1))

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Compares a corner of the full product with fp64."""
        rows, columns, inner = self._sizes(case)
        device, dtype = torch.device(device), dtype_of(case)
        (a,) = random_tensors(1, (rows, inner), dtype, device, case.seed)
        (b,) = self._right(case, 1, device)
        place = torch.zeros(rows, columns, dtype=_product_type(dtype), device=device)
        with torch.inference_mode():
            corner = _multiplier(dtype, device)(a, b, out=place)[:_CHECKED, :_CHECKED]
            expected = _fp64(a[:_CHECKED]) @ _fp64(b[:, :_CHECKED])
        return _probe(_fp64(corner), expected)


def _product_type(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype.itemsize > 1 else torch.bfloat16


def _multiplier(dtype: torch.dtype, device: torch.device) -> Callable[..., torch.Tensor]:
    if dtype.itemsize > 1:
        return torch.mm
    one = torch.ones((), device=device)
    return partial(torch._scaled_mm, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)  # noqa: SLF001 - no public one


class ConvSizes(NamedTuple):
    channels: int
    pixels: int
    filters: int
    kernel: int
    stride: int

    @property
    def pixels_out(self) -> int:
        return (self.pixels + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1


class Conv2d(_Arithmetic):
    """A convolution of `batch_size` square images, padded by half its kernel. A sample is one image."""

    name = "conv2d"

    def _sizes(self, case: Case) -> ConvSizes:
        meaning = "`channels x pixels x filters x kernel`, and a stride after it if it is not 1"
        found = sizes(case, CONV2D_SHAPE, meaning, (4, 5))
        return ConvSizes._make(found if len(found) == 5 else (*found, 1))

    def flops_per_sample(self, case: Case) -> float:
        size = self._sizes(case)
        products = size.pixels_out**2 * size.filters * size.channels * size.kernel**2
        return 2.0 * products * self.passes(case)

    def bytes_per_sample(self, case: Case) -> float:
        """Images and results once per pass; the weights once per call, shared by the batch."""
        size = self._sizes(case)
        images = size.channels * size.pixels**2 + size.filters * size.pixels_out**2
        weights = size.filters * size.channels * size.kernel**2
        return (images + weights / case.batch) * dtype_of(case).itemsize * self.passes(case)

    def make(self, case: Case, device: torch.device) -> Step:
        size, train = self._sizes(case), case.mode == "train"
        set_bytes = int(self.bytes_per_sample(case) * case.batch) // self.passes(case)
        num = num_sets(set_bytes, last_cache_bytes(device))
        images, weights, gradients = self._tensors(case, size, num, device)
        if train:
            images, weights = _leaves(images), _leaves(weights)
        take = rotation(list(zip(images, weights, gradients, strict=True)))

        def convolution() -> torch.Tensor:
            x, w, _ = take()
            with torch.inference_mode():
                self._output = _convolve(x, w, size)
            return self._output

        def with_gradients() -> torch.Tensor:
            x, w, gradient = take()
            self._output = _convolve(x, w, size)
            torch.autograd.grad(self._output, (x, w), gradient)
            return self._output.detach()

        return with_gradients if train else convolution

    @staticmethod
    def _tensors(case: Case, size: ConvSizes, num: int, device: torch.device) -> list[tuple[torch.Tensor, ...]]:
        layout = torch.channels_last if case.memory_format == "channels_last" else torch.contiguous_format
        shapes = (
            (case.batch, size.channels, size.pixels, size.pixels),
            (size.filters, size.channels, size.kernel, size.kernel),
            (case.batch, size.filters, size.pixels_out, size.pixels_out),
        )
        kept = shapes if case.mode == "train" else shapes[:2]
        found = [
            tuple(
                tensor.contiguous(memory_format=layout)
                for tensor in random_tensors(num, shape, dtype_of(case), device, case.seed + at)
            )
            for at, shape in enumerate(kept)
        ]
        return found if case.mode == "train" else [*found, found[1]]

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Compares the first image of a full batch with fp64."""
        size = self._sizes(case)
        (x,), (w,), *_ = self._tensors(case.model_copy(update={"mode": "infer"}), size, 1, torch.device(device))
        with torch.inference_mode():
            output = _convolve(x, w, size)[:1]
            expected = _convolve(_fp64(x[:1]).contiguous(), _fp64(w).contiguous(), size)
        return _probe(_fp64(output).flatten(1), expected.flatten(1))


def _convolve(images_NCHW: torch.Tensor, weights: torch.Tensor, size: ConvSizes) -> torch.Tensor:
    return torch.nn.functional.conv2d(images_NCHW, weights, stride=size.stride, padding=size.kernel // 2)


def _leaves(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.detach().requires_grad_() for tensor in tensors)


def _fp64(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(device="cpu", dtype=torch.float64)


def _probe(got: torch.Tensor, expected: torch.Tensor) -> ParityProbe:
    """The mean square takes the place of a loss: an error of scale changes it."""
    return ParityProbe(got, got.square().mean(), None, expected, expected.square().mean(), None, num_samples=len(got))
