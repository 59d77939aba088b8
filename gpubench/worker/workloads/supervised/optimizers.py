"""Optimizers by name, and a GradScaler that counts what it skipped without asking the device."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.numerics import NUMERICS

MOMENTUM = 0.9
FP16_ADAM_EPS = 1e-4


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, momentum=MOMENTUM),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(case: Case, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The case's optimizer over `parameters`. `Unsupported` with torch's reason where it refuses `fused` here.

    Adam over fp16 weights takes eps 1e-4: the usual 1e-8 is zero in fp16, and a gradient of zero would become NaN.
    """
    make, arguments = OPTIMIZERS[case.optimizer], {"lr": case.learning_rate}
    alike: dict[type, list[torch.nn.Parameter]] = {}  # no kernel takes a mix of whole parameters and sharded ones
    for parameter in parameters:
        alike.setdefault(type(parameter), []).append(parameter)
    groups = [{"params": each} for each in alike.values()]
    if NUMERICS[case.precision].weights is torch.float16 and case.optimizer != "sgd":
        arguments["eps"] = FP16_ADAM_EPS
    if case.cuda_graph and case.optimizer != "sgd":
        arguments["capturable"] = True  # its state would live on the host
    if not case.fused:
        return make(groups, **arguments)
    try:
        return make(groups, **arguments, fused=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise Unsupported(f"torch has no fused {case.optimizer} here: {error}") from error


class CountingScaler(torch.amp.GradScaler):
    """A GradScaler that adds up, on the device, how many optimizer steps it skipped.

    It reads what `step` itself found (one flag per device), so nothing is synchronised and the scaler's own behaviour
    is unchanged. With an optimizer that is not fused, `GradScaler.step` reads that flag on the host once per step. This
    wait is part of what is measured; `device_waits_s` has each one in seconds.
    """

    def __init__(self, device: torch.device, **arguments: Any) -> None:
        super().__init__(device.type, **arguments)
        self.device_waits_s: list[float] = []
        self._num_skipped = torch.zeros((), device=device)

    def _maybe_opt_step(
        self, optimizer: torch.optim.Optimizer, optimizer_state: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """What torch's own does, with its wait timed. A torch that no longer calls it leaves `device_waits_s` empty."""
        began = time.perf_counter()
        found_inf = sum(flag.item() for flag in optimizer_state["found_inf_per_device"].values())
        self.device_waits_s.append(time.perf_counter() - began)
        return None if found_inf else optimizer.step(*args, **kwargs)

    def count(self, optimizer: torch.optim.Optimizer) -> None:
        """Call between `step` and `update`, which forgets what was found."""
        for found_inf in self._found_inf_per_device(optimizer).values():
            self._num_skipped.add_(found_inf)

    def reset_count(self) -> None:
        self._num_skipped.zero_()
        self.device_waits_s.clear()

    @property
    def num_skipped(self) -> int:
        """Optimizer steps skipped since the last reset. Waits for the device."""
        return int(self._num_skipped.item())
