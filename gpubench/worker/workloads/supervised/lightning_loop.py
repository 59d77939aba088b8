"""The training step inside the loop of a Lightning Trainer, to measure the overhead of the wrapper.

A Trainer runs its own loop and calls hooks, but a measurement calls step after step. So `fit` runs in a greenlet of the
same thread that switches back after every optimizer step; a switch takes less than a microsecond.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Unsupported, need
from gpubench.worker.workloads.numerics import NUMERICS
from gpubench.worker.workloads.supervised.steps import Loss, TrainStep


def refuse(case: Case, max_gradient_norm: float | None) -> None:
    """Unsupported for cases that this loop cannot measure."""
    reason = None
    if case.mode != "train":
        reason = "Lightning's loop is measured in training"
    elif NUMERICS[case.precision].scaled:
        reason = f"{case.precision} needs a GradScaler, of which Lightning keeps its own"
    elif case.cuda_graph:
        reason = "a CUDA graph cannot hold Lightning's loop"
    elif case.world_size > 1:
        reason = "Lightning starts its own ranks"
    elif max_gradient_norm is not None:
        reason = f"{case.workload} clips its gradient, which Lightning does in its own way"
    if reason is not None:
        raise Unsupported(reason)


class FrameworkLoop(Protocol):
    """Runs a `TrainStep` inside a framework. Each call is one optimizer step, counted in the `TrainStep`."""

    def __call__(self) -> object: ...

    def put_back(self) -> None:
        """Updates torch's model and step from the framework's own copies, if it has any."""

    def probe(self) -> dict[str, Any] | None:
        """Facts about the step; None if torch runs it, so that it can be watched."""

    def close(self) -> None: ...


class LightningLoop:
    """Each call runs one optimizer step of `Trainer.fit`, with the model, loss, batches and optimizer of a `TrainStep`.

    Raises what `fit` raises. Missing if Lightning is not installed.
    """

    def __init__(self, step: TrainStep, loss: Loss, case: Case, device: torch.device) -> None:
        need("lightning", "greenlet", "lightning")
        from greenlet import getcurrent, greenlet

        with _environment_left():
            from lightning.pytorch import LightningModule, Trainer

        class Module(LightningModule):  # type: ignore[misc]  # it has no types
            def __init__(self) -> None:
                super().__init__()
                self.called = step.model

            def training_step(self, batch: Any, _index: int) -> torch.Tensor:
                inputs, targets = batch
                with step.phases("forward"):
                    output = self.called(inputs)
                with step.phases("loss"):
                    found = loss(output, targets)
                step.note(found.detach())
                return found

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return step.optimizer

            def transfer_batch_to_device(self, batch: Any, device: torch.device, _number: int) -> Any:  # noqa: ARG002
                with step.phases("h2d"):
                    return step.source.transfer(batch)

            def on_train_batch_end(self, _outputs: Any, _batch: Any, index: int) -> None:
                if (index + 1) % case.accumulate == 0:
                    hand_over()

        measurer = getcurrent()
        hand_over: Callable[[], object] = measurer.switch
        _quiet()
        trainer = Trainer(
            accelerator="cpu" if device.type == "cpu" else "gpu",
            devices=1 if device.type == "cpu" else [device.index or 0],
            precision="32-true" if NUMERICS[case.precision].autocast is None else "bf16-mixed",
            accumulate_grad_batches=case.accumulate,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Module()
        self._step = step
        self._fit = greenlet(lambda: trainer.fit(module, _Batches(step)))

    def __call__(self) -> None:
        self._fit.switch()
        if self._fit.dead:
            raise RuntimeError("Lightning ended its training while steps were still asked for")
        self._step.num_steps += 1

    def put_back(self) -> None:
        """Nothing to do: Lightning trains the step's own model and optimizer."""

    def probe(self) -> None:
        """None: the step's model can be watched."""

    def close(self) -> None:
        """Ends `fit` and frees what it holds."""
        if self._fit:  # started and not finished
            self._fit.throw()


class _Batches:
    """Endless batches for a Trainer."""

    def __init__(self, step: TrainStep) -> None:
        self._step = step

    def __iter__(self) -> Iterator[Any]:
        while True:
            with self._step.phases("data"):
                batch = self._step.source.fetch()
            yield batch


@contextmanager
def _environment_left() -> Iterator[None]:
    """Restores the environment: Lightning's import sets a variable that changes how torch finds CUDA, also for other
    arms in this process.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


def _quiet() -> None:
    """Hides Lightning's notes on devices and its tips: they are not messages of the workload."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
