"""Shapes, types and layout of random batches."""

from typing import Any, NamedTuple

import torch

from gpubench.suite.model.input_shape import Inputs, InputShape
from gpubench.worker.workloads.supervised.examples import Batch

Samples = torch.Tensor | tuple[torch.Tensor, ...] | dict[str, torch.Tensor]
"""One input, several in order, or several by name."""


def parts_of(inputs: Any) -> list[Any]:
    """All inputs of some samples (or of their shapes) as a flat list."""
    return list(inputs.values() if isinstance(inputs, dict) else inputs if type(inputs) in (tuple, list) else [inputs])


class Format(NamedTuple):
    """Shapes of `inputs` and targets.

    Targets are class indices below `num_classes`, one per sample or per element of `target_shape`; without classes they
    are floats of that shape.
    """

    inputs: Inputs
    num_classes: int | None
    target_shape: tuple[int, ...] = ()

    @classmethod
    def of_images(cls, image_size: int, num_classes: int) -> "Format":
        """Images of three channels with one class each."""
        return cls(InputShape(None, (3, image_size, image_size)), num_classes)

    @property
    def image_size(self) -> int:
        assert isinstance(self.inputs, InputShape)
        return self.inputs.shape[-1]

    def unfilled(self, num_samples: int, dtype: torch.dtype, device: torch.device) -> Batch:
        """A batch of the right shapes and dtypes (floats in `dtype`), with arbitrary values."""

        def empty(part: InputShape) -> torch.Tensor:
            kind = dtype if part.below is None else torch.bool if part.is_bool else torch.int64
            return torch.empty((num_samples, *part.shape), dtype=kind, device=device)

        target = (num_samples, *self.target_shape)
        return (
            self._map(empty),
            torch.empty(target, dtype=dtype if self.num_classes is None else torch.int64, device=device),
        )

    def random(self, num_samples: int, generator: torch.Generator) -> Batch:
        """Seeded samples and targets, float32 or int64, on the generator's device."""

        def drawn(part: InputShape) -> torch.Tensor:
            values = _drawn((num_samples, *part.shape), part.below, generator)
            return values.bool() if part.is_bool else values

        return self._map(drawn), _drawn((num_samples, *self.target_shape), self.num_classes, generator)

    def _map(self, make: Any) -> Samples:
        """InputShape is a tuple itself."""
        if isinstance(self.inputs, InputShape):
            single: Samples = make(self.inputs)
            return single
        if isinstance(self.inputs, dict):
            return {name: make(part) for name, part in self.inputs.items()}
        return tuple(make(part) for part in self.inputs)


def _drawn(shape: tuple[int, ...], below: int | None, generator: torch.Generator) -> torch.Tensor:
    if below is None:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device=generator.device)
    return torch.randint(below, shape, generator=generator, device=generator.device)
