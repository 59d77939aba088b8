"""What the measured steps did to the model, read once after the last of them."""

from dataclasses import dataclass
from typing import Any

import torch

from gpubench.worker.workloads.base import Health
from gpubench.worker.workloads.classifier.steps import InferStep, TrainStep

SNAPSHOT_ELEMENTS = 4096


@dataclass(frozen=True)
class Snapshot:
    """The first 4,096 elements of every parameter, on the CPU: little enough to leave no mark on memory figures."""

    values: dict[str, torch.Tensor]

    @classmethod
    def of(cls, model: torch.nn.Module) -> "Snapshot":
        with torch.no_grad():
            return cls({name: _sample(parameter) for name, parameter in model.named_parameters()})

    def distances(self, model: torch.nn.Module) -> dict[str, float]:
        """Per parameter the L2 norm (in fp64) of how far its sampled elements moved."""
        with torch.no_grad():
            return {
                name: float(torch.linalg.vector_norm(_sample(parameter).double() - self.values[name].double()))
                for name, parameter in model.named_parameters()
            }


def _sample(parameter: torch.Tensor) -> torch.Tensor:
    """In the order of memory, so that no layout makes a copy of the whole parameter."""
    num_elements = min(parameter.numel(), SNAPSHOT_ELEMENTS)
    return parameter.detach().as_strided((num_elements,), (1,)).to("cpu", copy=True)


def read(
    step: TrainStep | InferStep,
    model: torch.nn.Module | None,
    snapshot: Snapshot | None,
    input_waits_s: list[float] | None,
) -> Health:
    """`Health` of the steps since the step's reset. Waits for the device."""
    extra: dict[str, Any] = {} if input_waits_s is None else {"input_wait_s": list(input_waits_s)}
    if isinstance(step, InferStep):
        return Health(finite=step.finite(), extra=extra)
    skipped = None if step.scaler is None else step.scaler.num_skipped
    done = step.num_steps - (skipped or 0)
    moved: bool | None = None
    if model is not None and snapshot is not None and step.num_steps > 0:
        distances = snapshot.distances(model)
        moved = any(distance != 0 for distance in distances.values())
        extra["unmoved_parameters"] = [name for name, distance in distances.items() if distance == 0]
    return Health(
        finite=step.finite(), parameters_moved=moved, scaler_skipped_steps=skipped, optimizer_steps=done, extra=extra
    )
