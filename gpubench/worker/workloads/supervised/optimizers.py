"""Optimizers by name, and a GradScaler that counts skipped steps without synchronising the device."""

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
    """The case's optimizer. Unsupported with torch's reason if it refuses `fused` here.

    Adam over fp16 weights takes eps 1e-4: the usual 1e-8 rounds to zero in fp16, so a gradient of zero would become
    NaN.
    """
    make, arguments = OPTIMIZERS[case.optimizer], {"lr": case.learning_rate}
    alike: dict[type, list[torch.nn.Parameter]] = {}  # no kernel takes whole and sharded parameters together
    for parameter in parameters:
        alike.setdefault(type(parameter), []).append(parameter)
    groups = [{"params": each} for each in alike.values()]
    if NUMERICS[case.precision].weights is torch.float16 and case.optimizer != "sgd":
        arguments["eps"] = FP16_ADAM_EPS
    if case.cuda_graph and case.optimizer != "sgd":
        arguments["capturable"] = True  # otherwise its step count lives on the host
    if not case.fused:
        return make(groups, **arguments)
    try:
        return make(groups, **arguments, fused=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise Unsupported(f"torch has no fused {case.optimizer} here: {error}") from error


class CountingScaler(torch.amp.GradScaler):
    """A GradScaler that counts skipped optimizer steps on the device.

    It reads the flags that `step` itself sets (one per device), so it neither synchronises nor changes what the scaler
    does. If the optimizer is not fused, `GradScaler.step` reads the flag on the host in every step. That wait is part
    of the measured step; `device_waits_s` lists it in seconds.
    """

    def __init__(self, device: torch.device, **arguments: Any) -> None:
        super().__init__(device.type, **arguments)
        self.device_waits_s: list[float] = []
        self._num_skipped = torch.zeros((), device=device)

    def _maybe_opt_step(
        self, optimizer: torch.optim.Optimizer, optimizer_state: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Times the wait in torch's own method. `device_waits_s` stays empty with a torch that no longer calls it."""
        began = time.perf_counter()
        found_inf = sum(flag.item() for flag in optimizer_state["found_inf_per_device"].values())
        self.device_waits_s.append(time.perf_counter() - began)
        return None if found_inf else optimizer.step(*args, **kwargs)

    def count(self, optimizer: torch.optim.Optimizer) -> None:
        """Call between `step` and `update`, which clears the flags."""
        for found_inf in self._found_inf_per_device(optimizer).values():
            self._num_skipped.add_(found_inf)

    def reset_count(self) -> None:
        self._num_skipped.zero_()
        self.device_waits_s.clear()

    @property
    def num_skipped(self) -> int:
        """Optimizer steps skipped since the last reset. Waits for the device."""
        return int(self._num_skipped.item())
