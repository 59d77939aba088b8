"""The training step and the inference step of a model, either of them as a CUDA graph, and the counters behind
`Health`.

Nothing here waits for the device: finiteness is accumulated there and read after the last step.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.base import Health, Phases, Unsupported
from gpubench.worker.workloads.numerics import real_parts
from gpubench.worker.workloads.supervised.batches import BatchSource, Resident
from gpubench.worker.workloads.supervised.examples import map_tensors
from gpubench.worker.workloads.supervised.optimizers import CountingScaler

WARMUP_STEPS = 3
"""Steps before a graph is captured."""

SNAPSHOT_ELEMENTS = 4096

_WANTS_GRADIENT = re.compile("does not require grad and does not have a grad_fn|Inference tensors cannot be saved")
_NO_GRADIENT = (
    "Inference runs under torch.inference_mode(), which records no gradient: a `forward` that takes one enters "
    "`torch.inference_mode(False)` and `torch.enable_grad()`, and clones its input."
)

Loss = Callable[[Any, Any], torch.Tensor]
"""Takes the model's output and the batch's targets."""

Learn = Callable[[Any, Any], torch.Tensor]
Autocast = Callable[[], AbstractContextManager[Any]]

_NO_PHASE: AbstractContextManager[None] = nullcontext()


def no_phases(name: str) -> AbstractContextManager[None]:  # noqa: ARG001
    return _NO_PHASE


class Distributed(NamedTuple):
    """A rank's part of a model. `module` holds the parameters that this rank trains, under the model's names; `called`
    takes the samples of a batch. `learn` runs forward, loss and backward if a rank does not hold the whole model: it
    returns the detached loss, or 0 on ranks that do not have it.
    """

    module: torch.nn.Module
    called: torch.nn.Module
    learn: Learn | None = None


class TrainStep:
    """One optimizer step: zero_grad, then transfer, forward, loss and backward per micro-step, then the optimizer.

    Exactly one forward per micro-step. The sum of the losses stays on the device: one NaN or infinity makes it
    non-finite for good, at one addition per micro-step. Returns the last micro-step's loss, detached and unscaled.
    """

    def __init__(
        self,
        model: Callable[[Any], Any],
        optimizer: torch.optim.Optimizer,
        source: BatchSource,
        loss: Loss,
        *,
        device: torch.device,
        autocast: Autocast = nullcontext,
        scaler: CountingScaler | None = None,
        accumulate: int = 1,
        phases: Phases = no_phases,
        keep_gradients: bool = False,
        learn: Learn | None = None,
        max_gradient_norm: float | None = None,
    ) -> None:
        self.model, self.optimizer, self.source, self.learn = model, optimizer, source, learn
        self.scaler = scaler
        self.num_steps = 0
        self._loss, self.autocast, self.phases = loss, autocast, phases
        self._accumulate = accumulate
        self._loss_sum = torch.zeros((), device=device, dtype=torch.float32)
        self._set_to_none = not keep_gradients
        self._max_gradient_norm = max_gradient_norm

    def __call__(self) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=self._set_to_none)
        for _ in range(self._accumulate):
            loss = self._micro_step()
        with self.phases("optimizer"):
            if self._max_gradient_norm is not None:
                self._clip(self._max_gradient_norm)
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
                self.scaler.count(self.optimizer)
                self.scaler.update()
        self.num_steps += 1
        return loss

    def _micro_step(self) -> torch.Tensor:
        phases = self.phases
        with phases("data"):
            batch = self.source.fetch()
        with phases("h2d"):
            inputs, targets = self.source.transfer(batch)
        if self.learn is not None:
            with phases("forward"):
                learnt = self.learn(inputs, targets)
            self.note(learnt)
            return learnt
        with self.autocast():
            with phases("forward"):
                output = self.model(inputs)
            with phases("loss"):
                loss = self._loss(output, targets)
        with phases("backward"):
            self._backward(loss if self._accumulate == 1 else loss / self._accumulate)
        detached = loss.detach()
        self.note(detached)
        return detached

    def note(self, loss: torch.Tensor) -> None:
        """Adds a micro-step's detached loss to the sum that `finite` reads."""
        self._loss_sum.add_(loss)

    def _clip(self, max_norm: float) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        parameters = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    def _backward(self, loss: torch.Tensor) -> None:
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        """Resets the counters of steps, skipped steps and finiteness."""
        self.num_steps = 0
        self._loss_sum.zero_()
        if self.scaler is not None:
            self.scaler.reset_count()

    def finite(self) -> bool:
        """Whether every loss since the reset was finite. Waits for the device."""
        return bool(torch.isfinite(self._loss_sum).item())


class InferStep:
    """One batch through the model in inference mode; the caller has put the model into eval mode. Returns its output.

    Accumulates nothing, because two more small kernels are a tenth of a small model's step. Frozen weights give a batch
    the same output every time, so finiteness is checked afterwards, on the last output and each batch of a pool.
    """

    def __init__(
        self,
        model: Callable[[Any], Any],
        source: BatchSource,
        *,
        autocast: Autocast = nullcontext,
        phases: Phases = no_phases,
    ) -> None:
        self.model, self.source = model, source
        self.num_steps = 0
        self.output: Any = None
        self.is_captured = False
        self.autocast, self._phases = autocast, phases

    def __call__(self) -> Any:
        phases = self._phases
        self.output = None  # two outputs at once would raise the peak memory
        with torch.inference_mode():
            with phases("data"):
                batch = self.source.fetch()
            with phases("h2d"):
                inputs, _ = self.source.transfer(batch)
            try:
                with self.autocast(), phases("forward"):
                    self.output = self.model(inputs)
            except RuntimeError as error:
                if _WANTS_GRADIENT.search(str(error)):
                    error.add_note(_NO_GRADIENT)
                raise
        self.num_steps += 1
        return self.output

    def reset(self) -> None:
        """Resets the counter, and rewinds a pool to its first batch."""
        self.num_steps = 0
        if isinstance(self.source, Resident):
            self.source.rewind()

    def finite(self) -> bool:
        """Whether the last output is finite, and another output of each pooled batch that was used since the reset (at
        most 8). For a graph only the last output is checked, as there may be no memory left for another forward. Waits
        for the device.
        """
        num_steps, finite = self.num_steps, self.output is None or _all_finite(self.output)
        if isinstance(self.source, Resident) and not self.is_captured:
            self.source.rewind()
            for _ in range(min(num_steps, len(self.source.batches))):
                finite = _all_finite(self()) and finite
            self.num_steps = num_steps
        return finite


def _all_finite(output: Any) -> bool:
    """Whether there is no NaN and no +inf. -inf is how a model masks; parity finds one that fp64 does not give."""
    return all(bool((torch.isfinite(tensor) | (tensor == -math.inf)).all().item()) for tensor in tensors_in(output))


def tensors_in(output: Any) -> Iterator[torch.Tensor]:
    """All tensors in a model's output: a tensor, a container, or an object that holds some, such as a dataclass."""
    if isinstance(output, torch.Tensor):
        yield output
        return
    parts = output.values() if isinstance(output, Mapping) else output
    if not isinstance(parts, Iterable):
        parts = getattr(output, "__dict__", {}).values()
    for part in () if isinstance(parts, str) else parts:
        yield from tensors_in(part)


class GraphedStep:
    """Replays one captured step.

    A graph reads its input from fixed addresses. With `data_path: resident` these hold the same batches in every
    replay; otherwise the next batches are copied there first. Gradients are set to None before the capture, so that
    backward allocates them from the graph's pool.
    """

    def __init__(
        self, step: TrainStep | InferStep, source: BatchSource, *, num_batches: int, device: torch.device
    ) -> None:
        self._eager, self._source = step, source
        batches = [source.transfer(source.fetch()) for _ in range(num_batches)]
        self._static = [
            map_tensors(lambda part: part.clone(memory_format=torch.preserve_format), batch) for batch in batches
        ]
        self._copies_input = type(source) is not Resident
        step.source = Resident(self._static)
        self._replay, self._result = accelerator_of(device).capture(
            step, num_warmups=WARMUP_STEPS, before=self._drop_gradients
        )
        step.reset()
        if isinstance(step, InferStep):
            step.is_captured = True

    def _drop_gradients(self) -> None:
        if isinstance(self._eager, TrainStep):
            self._eager.optimizer.zero_grad(set_to_none=True)

    def __call__(self) -> Any:
        if self._copies_input:
            for fixed in self._static:
                map_tensors(_refill, fixed, self._source.fetch())
        self._replay()
        self._eager.num_steps += 1
        return self._result


def _refill(fixed: torch.Tensor, values: torch.Tensor) -> None:
    if fixed.shape != values.shape:
        raise Unsupported("a CUDA graph needs batches of one shape, and this data's differ in length")
    fixed.copy_(values, non_blocking=True)


@dataclass(frozen=True)
class Snapshot:
    """The first 4,096 elements of every parameter, on the CPU: few enough not to affect memory figures."""

    values: dict[str, torch.Tensor]
    trained: frozenset[str]
    """Names of the parameters that required gradients when the model was built."""

    @classmethod
    def of(cls, model: torch.nn.Module, before: "Snapshot | None" = None) -> "Snapshot":
        """`before`: the snapshot taken when the model was built."""
        trained = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)
        with torch.no_grad():
            here = {name: _here(parameter) for name, parameter in model.named_parameters()}
            values = {name: _sample(part) for name, part in here.items() if part.numel() > 0}
        return cls(values, trained if before is None else before.trained)

    def frozen(self, model: torch.nn.Module) -> list[str]:
        """Parameters that no longer require gradients."""
        return [name for name, each in model.named_parameters() if name in self.trained and not each.requires_grad]

    def distances(self, model: torch.nn.Module) -> dict[str, float]:
        """How far each parameter's sampled elements moved: L2 norm in fp64."""
        with torch.no_grad():
            return {
                name: float(torch.linalg.vector_norm(_sample(_here(parameter)).double() - self.values[name].double()))
                for name, parameter in model.named_parameters()
                if name in self.values
            }


def _here(parameter: torch.Tensor) -> torch.Tensor:
    """The local part of a parameter that may be sharded over ranks."""
    own = getattr(parameter, "to_local", None)
    tensor: torch.Tensor = parameter if own is None else own()
    return tensor


def _sample(parameter: torch.Tensor) -> torch.Tensor:
    """Elements in memory order, so that no layout forces a copy of the whole parameter; expanded tensors have fewer."""
    stored = parameter.untyped_storage().nbytes() // parameter.itemsize - parameter.storage_offset()
    num_elements = min(parameter.numel(), stored, SNAPSHOT_ELEMENTS)
    return real_parts(parameter.detach().as_strided((num_elements,), (1,)).to("cpu", copy=True))


def health_of(
    step: TrainStep | InferStep,
    model: torch.nn.Module | None,
    snapshot: Snapshot | None,
    input_waits_s: list[float] | None,
) -> Health:
    """Health of the steps since the last reset. Waits for the device."""
    extra: dict[str, Any] = {} if input_waits_s is None else {"input_wait_s": list(input_waits_s)}
    if isinstance(step, InferStep):
        return Health(finite=step.finite(), extra=extra)
    skipped = None if step.scaler is None else step.scaler.num_skipped
    done = step.num_steps - (skipped or 0)
    moved: bool | None = None
    if model is not None and snapshot is not None and step.num_steps > 0:
        distances = snapshot.distances(model)
        moved = any(distance != 0 for distance in distances.values()) and not snapshot.frozen(model)
        extra["unmoved_parameters"] = [name for name, distance in distances.items() if distance == 0]
    return Health(
        finite=step.finite(), parameters_moved=moved, scaler_skipped_steps=skipped, optimizer_steps=done, extra=extra
    )
