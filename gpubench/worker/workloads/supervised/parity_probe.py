"""Runs a fixed batch as the timed step computes it, and in fp64 on the CPU."""

import re
from functools import partial
from typing import Any, Protocol

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import ParityProbe
from gpubench.worker.workloads.compiled import compile_model
from gpubench.worker.workloads.numerics import NUMERICS, autocast_of, real_parts
from gpubench.worker.workloads.supervised import compression, normalisation
from gpubench.worker.workloads.supervised.batches import Cast, first_tensor, make_batches, moved
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, map_tensors

NUM_SAMPLES = 8

Outputs = tuple[Any, Any, Any]
"""Logits NC, loss and flat gradient (None if the mode has none) as tensors on the CPU: the loss in its own dtype, the
others in fp64.
"""


class ProbedWorkload(Protocol):
    """The part of `Supervised` used here."""

    loss_in_inference: bool

    def place_model(self, case: Case, device: torch.device, *, settled: bool = False) -> torch.nn.Module: ...
    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch: ...
    def load_data(self, case: Case) -> DataSplits | None: ...
    def loss(self, output: Any, targets: Any) -> torch.Tensor: ...
    def logits(self, output: Any) -> torch.Tensor: ...
    def measured_pass(self, case: Case, model: torch.nn.Module, batch: Batch, device_type: str) -> "Outputs": ...


def run(workload: ProbedWorkload, case: Case, device: torch.device) -> ParityProbe:
    """Both passes start from the same weights (already rounded to the case's dtype) and the same float32 samples, in
    the case's mode. Dropout and stochastic depth are off and batch normalisation uses frozen statistics: with those of
    a small batch, an untrained resnet50 amplifies rounding to logits errors of 10 to 30 % in bf16, which no limit could
    tell from a mistake. The gradient is that of the unscaled loss.

    In a compiled case the samples are repeated to fill the case's batch, so that the code it compiled is what is
    checked (unless the changes above make it compile again). The reference of a
    compressed model has the values that its weights stand for: what compression costs shows in the score of the trained
    model, not here.
    """
    plain = case.model_copy(update={"compress": "none"})
    model = workload.place_model(case, device, settled=True)
    reference = workload.place_model(plain, torch.device("cpu"), settled=True)
    for each in (model, reference):
        switch_off_randomness(each)
        normalisation.freeze(each)
    if case.compress == "none":
        wake_zero_layers(model)
    # Made anew, because locks and computed weights cannot be copied. `double` makes new weights.
    for its, own in zip(state_of(reference), state_of(model), strict=True):
        its.data = compression.plain(own.detach()).cpu()
    reference = reference.to(memory_format=torch.contiguous_format).double()
    batch, cast = fixed_batch(workload, case), Cast.of(case)
    num_samples = len(first_tensor(batch))
    copies = 1 if case.compile == "off" else case.batch // num_samples
    inputs, targets = moved(batch, device)
    inputs, targets = map_tensors(lambda part: _repeated(part, copies), (cast(inputs), targets))
    placed = cast(inputs), targets
    measured, again = (workload.measured_pass(case, model, placed, device.type) for _ in range(2))
    logits, loss, gradient = one_pass(workload, case, reference, map_tensors(_exact, batch), "cpu", exact=True)
    expected = _repeated(logits, copies), loss, gradient
    return ParityProbe(*measured, *expected, num_samples=num_samples, again_NC=again[0])


def _repeated(tensor: torch.Tensor, copies: int) -> torch.Tensor:
    return tensor.repeat(copies, *[1] * (tensor.ndim - 1)) if copies > 1 else tensor


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def state_of(model: torch.nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def fixed_batch(workload: ProbedWorkload, case: Case) -> Batch:
    """At most eight samples in float32 on the CPU, from the test split if the case has real data."""
    few = case.model_copy(update={"batch_size": min(case.batch, NUM_SAMPLES)})
    data = workload.load_data(case)
    examples = None if data is None else data.test
    return next(make_batches(few, partial(workload.make_batch, case), examples, torch.device("cpu")))


_DROPOUT = re.compile(r"dropout|(^|_)(layer_?)?drop(_?(p|prob|probability|rate|path\w*|connect\w*))?$")


def switch_off_randomness(model: torch.nn.Module) -> None:
    """Sets the probability of dropout and stochastic depth to 0, in every module that stores one: attention layers of
    several libraries have an attribute for it. Only usual names count: a `drop_ratio` may be divided by.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd) or type(module).__name__ == "StochasticDepth":  # noqa: SLF001
            module.p = 0.0  # type: ignore[assignment]
        for name, value in list(vars(module).items()):
            if _DROPOUT.search(name) and isinstance(value, float) and 0 <= value <= 1:
                setattr(module, name, 0.0)


def wake_zero_layers(model: torch.nn.Module) -> None:
    """Gives weights to linear layers that start at zero (heads of vision transformers): logits of 0 prove nothing."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.detach().any():
            torch.nn.init.normal_(module.weight, std=0.02)


def one_pass(
    workload: ProbedWorkload,
    case: Case,
    model: torch.nn.Module,
    batch: Batch,
    device_type: str,
    *,
    exact: bool = False,
) -> Outputs:
    """One forward (and backward, in `train`)."""
    train, (inputs, targets) = case.mode == "train", batch
    autocast = autocast_of("fp32" if exact else case.precision, device_type)
    call = model if exact else compile_model(model, case.compile, device_type)
    # Scales of the loss, tried until the gradient is finite, as a GradScaler would over its first steps.
    scaled = NUMERICS[case.precision].scaled and not exact
    for scale in tuple(2.0**power for power in range(16, -1, -4)) if scaled else (1.0,):
        model.zero_grad()
        with torch.inference_mode(not train):
            with autocast():
                output = call(inputs)
                has_loss = train or workload.loss_in_inference
                loss = workload.loss(output, targets) if has_loss else None
            logits, gradient = _fp64(workload.logits(output)), None
            if train:
                assert loss is not None
                (loss * scale).backward()  # type: ignore[no-untyped-call]
                gradients = [_fp64(p.grad).flatten() for p in model.parameters() if p.grad is not None]
                gradient = torch.cat(gradients) / scale if gradients else None  # exact for a power of two
        if gradient is None or torch.isfinite(gradient).all():
            break
    return logits, None if loss is None else loss.detach().cpu(), gradient


def _fp64(tensor: torch.Tensor) -> torch.Tensor:
    return real_parts(tensor.detach()).to(device="cpu", dtype=torch.float64).contiguous()
