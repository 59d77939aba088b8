"""What a model learns: its batches, its loss, its real data and its score."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.supervised.batches import Cast, moved, seeded
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples, map_tensors
from gpubench.worker.workloads.supervised.scores import Contents, Score
from gpubench.worker.workloads.supervised.steps import tensors_in

EVALUATION_BATCH = 256


_WARMUP_SHARE = 0.05
_LEAST = 0.01


class LearningTask:
    """What the subclasses of `Supervised` define: model, batches and loss, and for quality runs data and score."""

    max_gradient_norm: float | None = None
    """Every training step clips gradients to this L2 norm."""

    cosine_pace = False
    """Whether the learning rate of a quality run follows `learning_rates.cosine`."""

    loss_in_inference = True
    """Whether `loss` accepts the model's output in eval mode."""

    reads_values = False
    """Whether the model's work depends on values that it reads on the host: FLOPs are then counted on one batch."""

    own_data: str | None = None
    """Name in a suite of the only data set that the task can learn from; `load_own_data` reads it."""

    def check(self, case: Case) -> None:
        """UsageError or Unsupported for settings that the model cannot take; called before anything is measured."""

    def make_model(self, case: Case) -> nn.Module:
        """The model with random weights, in float32 on the default device."""
        raise NotImplementedError

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        """Random inputs and targets of fixed shapes, in float32 or integers on the generator's device."""
        raise NotImplementedError

    def loss(self, output: Any, targets: Any) -> torch.Tensor:
        """The mean loss over the samples, from the model's output in training mode."""
        raise NotImplementedError

    def logits(self, output: Any) -> torch.Tensor:
        """The tensor that is compared with fp64: the output's `logits`, or its first floating-point tensor."""
        named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        tensors = [named] if isinstance(named, torch.Tensor) else tensors_in(output)
        return next(tensor for tensor in tensors if tensor.is_floating_point())

    def contents(self, inputs: Any, targets: Any) -> Contents | None:  # noqa: ARG002
        """Tokens or seconds of audio in a batch, and its padding. None: the task counts samples, without padding."""
        return None

    # Training on real data, which measured steps do not use.

    def load_data(self, case: Case) -> DataSplits | None:
        """The case's real data; None if it is synthetic. UsageError for data that the workload cannot use."""
        if case.data == "synthetic":
            return None
        if self.own_data is None:
            raise UsageError(f"{case.workload} cannot learn from {case.data}.", hint="Leave out `data`.")
        if case.data != self.own_data:
            raise UsageError(f"{case.workload} has no data called {case.data!r}.", hint=f"Use `data: {self.own_data}`.")
        return self.load_own_data(case)

    def load_own_data(self, case: Case) -> DataSplits:
        """Loads the data set that `own_data` names."""
        raise NotImplementedError

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:  # noqa: ARG002
        """The score of `self.model` on a split. The model is in eval mode, inside inference mode and the case's
        autocast.

        Called on the validation split before training and after every epoch, and once on the test split (`final`).
        """
        raise Unsupported(f"{case.workload} has no `evaluate` method, so its score is not known")

    def augment(self, inputs: Any, generator: torch.Generator) -> Any:  # noqa: ARG002
        """Changes the inputs of a training batch at random. `generator` is on the CPU."""
        return inputs

    def pace(self, optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
        """Called before step `step` (from 0) of `num_steps`; may set the optimizer's learning rate."""
        if self.cosine_pace:
            cosine(optimizer, learning_rate, step, num_steps)

    # Helpers for subclasses.

    def evaluation_batches(self, case: Case, examples: Examples, device: torch.device) -> Iterator[Batch]:
        """Batches of a split in order, on the device and in the case's dtype."""
        cast = Cast.of(case)
        order = torch.arange(len(examples))
        for inputs, targets in examples.batches(order, EVALUATION_BATCH, device, cast.dtype):
            yield cast(inputs), targets

    def blank_batch(self, case: Case, num_samples: int, dtype: torch.dtype) -> Batch:
        """A batch on the meta device, with floating-point inputs in `dtype`."""
        inputs, targets = moved(self.make_batch(case, num_samples, seeded(case.seed)), torch.device("meta"))
        return map_tensors(lambda part: part.to(dtype) if part.is_floating_point() else part, inputs), targets

    def example(self, case: Case, num_samples: int) -> Any:
        """Inputs of a few seeded samples in float32 (or integers) on the CPU."""
        return self.make_batch(case, num_samples, seeded(case.seed))[0]


def cosine(optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
    """Linear warm-up over the first twentieth of `num_steps`, then half a cosine down to a hundredth of `learning_rate`
    (Loshchilov and Hutter 2017).
    """
    at = (step + 0.5) / num_steps
    left = 0.5 * (1 + math.cos(math.pi * at))
    share = min(at / _WARMUP_SHARE, _LEAST + (1 - _LEAST) * left)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * share
