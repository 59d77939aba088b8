"""Samples of measured inference outputs with their inputs, to compare with what a fresh model computes."""

from collections import deque
from typing import Any, NamedTuple, Protocol

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import OutputCheck
from gpubench.worker.workloads.numerics import autocast_of, without_masked
from gpubench.worker.workloads.supervised.batches import Cast, Resident, first_tensor
from gpubench.worker.workloads.supervised.examples import map_tensors
from gpubench.worker.workloads.supervised.parity_probe import state_of
from gpubench.worker.workloads.supervised.steps import InferStep

MOST_SAMPLES = 4
MOST_ROWS = 8


class SampledModel(Protocol):
    """The part of `Supervised` used here."""

    def place_model(self, case: Case, device: torch.device, *, settled: bool = False) -> torch.nn.Module: ...
    def logits(self, output: Any) -> torch.Tensor: ...


class _Taken(NamedTuple):
    """Some rows of a batch and of its output, on the CPU."""

    inputs: Any
    logits: torch.Tensor


class OutputSamples:
    """The latest samples of one workload. `state`: the weights that computed them."""

    def __init__(self, workload: SampledModel, engine: InferStep, case: Case) -> None:
        self._workload, self._case = workload, case
        self._engine: InferStep | None = engine
        self._taken: deque[_Taken] = deque(maxlen=MOST_SAMPLES)
        self._state: list[torch.Tensor] = []

    def take(self) -> None:
        """Keeps rows of the last output, and replaces the samples of its batch. Call it between blocks of steps.

        Takes nothing with a loader, which makes new batches anyway.
        """
        engine = self._engine
        if engine is None or engine.output is None or not isinstance(engine.source, Resident) or not engine.source.last:
            return
        inputs = engine.source.last[0]
        logits = self._workload.logits(engine.output).detach()
        if logits.ndim == 0 or len(logits) != len(first_tensor(inputs)):
            return  # not one row per sample
        rows = torch.linspace(0, len(logits) - 1, min(len(logits), MOST_ROWS)).long()
        kept = map_tensors(lambda part: part[rows.to(part.device)].cpu(), inputs)
        self._taken.append(_Taken(kept, logits[rows.to(logits.device)].cpu()))
        engine.source.renew([engine.source.last])

    def take_last(self, step: Any, model: torch.nn.Module) -> None:
        """Call after the last step: runs one more and keeps the weights."""
        step()
        self.take()
        if self._taken:
            self._state = [each.detach().to("cpu", copy=True) for each in state_of(model)]

    def release(self) -> None:
        """Frees everything on the device."""
        self._engine = None

    def check(self, device: torch.device) -> OutputCheck | None:
        """Call after the workload is closed. None if nothing was taken."""
        if not self._state:
            return None
        model = self._workload.place_model(self._case, device, settled=True)
        for its, kept in zip(state_of(model), self._state, strict=True):
            its.data.copy_(kept)
        error = change = 0.0
        for taken in self._taken:
            whole, again = (self._pass(model, taken.inputs, device) for _ in range(2))
            few = map_tensors(lambda part: part[: (len(part) + 1) // 2], taken.inputs)
            half = self._pass(model, few, device)
            error = max(error, _distance(taken.logits, whole))
            change = max(change, _distance(again, whole), _distance(half, whole[: len(half)]))
        return OutputCheck(error, change, len(self._taken))

    def _pass(self, model: torch.nn.Module, inputs: Any, device: torch.device) -> torch.Tensor:
        placed = Cast.of(self._case)(map_tensors(lambda part: part.to(device), inputs))
        with torch.inference_mode(), autocast_of(self._case.precision, device.type)():
            return self._workload.logits(model(placed)).cpu()


def _distance(got: torch.Tensor, expected: torch.Tensor) -> float:
    """|got - expected| / |expected| in fp64; infinite if shapes differ."""
    if got.shape != expected.shape:
        return float("inf")
    got, expected = without_masked(got.double(), expected.double())
    size = float(torch.linalg.vector_norm(expected))
    return float(torch.linalg.vector_norm(got - expected)) / size if size else float(bool((got != expected).any()))
