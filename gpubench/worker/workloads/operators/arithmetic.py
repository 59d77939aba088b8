"""`operators:matmul` and `operators:conv2d`: the arithmetic peak of a device."""

from typing import Any, NamedTuple

import torch

from gpubench.suite.model.case import Case
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
    """A (M x K) times B (K x N), both row-major. A step is `batch_size` products."""

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
        elements = rows * inner + inner * columns + rows * columns
        return float(elements * dtype_of(case).itemsize * self.passes(case))

    def make(self, case: Case, device: torch.device) -> Step:
        rows, columns, inner = self._sizes(case)
        dtype, train = dtype_of(case), case.mode == "train"
        num = num_sets(int(self.bytes_per_sample(case)) // self.passes(case), last_cache_bytes(device))
        left = random_tensors(num, (rows, inner), dtype, device, case.seed)
        right = random_tensors(num, (inner, columns), dtype, device, case.seed + 1)
        third = random_tensors(
            num, (rows, columns), dtype, device, case.seed + 2
        )  # gradient of the product, or its place
        if train:
            left, right = _leaves(left), _leaves(right)
        take = rotation(list(zip(left, right, third, strict=True)))
        calls = range(case.batch)

        def product() -> torch.Tensor:
            with torch.inference_mode():
                for _ in calls:
                    a, b, out = take()
                    self._output = torch.mm(a, b, out=out)
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

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Compares a corner of the full product with fp64."""
        rows, columns, inner = self._sizes(case)
        device, dtype = torch.device(device), dtype_of(case)
        (a,) = random_tensors(1, (rows, inner), dtype, device, case.seed)
        (b,) = random_tensors(1, (inner, columns), dtype, device, case.seed + 1)
        with torch.inference_mode():
            corner = torch.mm(a, b)[:_CHECKED, :_CHECKED]
            expected = _fp64(a[:_CHECKED]) @ _fp64(b[:, :_CHECKED])
        return _probe(_fp64(corner), expected)


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


def _probe(found: torch.Tensor, expected: torch.Tensor) -> ParityProbe:
    """The mean square takes the place of a loss: an error of scale changes it."""
    return ParityProbe(
        found, found.square().mean(), None, expected, expected.square().mean(), None, num_samples=len(found)
    )
