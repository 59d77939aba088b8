"""`workload: operators:<operator>`: one operator at a time, to measure the peak of a device.

Inputs are random, because a GPU that multiplies zeros draws less power and clocks higher than under real load. They
rotate through more memory than the last-level cache holds, so that no input is still cached when it is used again.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import torch

from gpubench.core.errors import UsageError
from gpubench.machine.host_facts import read_text
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.base import Step, Unsupported
from gpubench.worker.workloads.numerics import NUMERICS
from gpubench.worker.workloads.watched_steps import observe

Inputs = TypeVar("Inputs")


CACHES = 3
"""The inputs together are at least this many times as large as the last-level cache."""

UNKNOWN_CACHE_BYTES = 64 * 2**20
_CPUS = Path("/sys/devices/system/cpu")
_KIB = {"K": 2**10, "M": 2**20, "G": 2**30}


class Operator:
    """What all operators share. A step is `batch_size` calls (conv2d: one call on a batch), a sample is one of them."""

    name: str
    has_precision = True
    trains = False

    def __init__(self) -> None:
        self._case: Case | None = None
        self._step: Step | None = None

    def samples_per_step(self, case: Case) -> int:
        return case.batch

    def build(self, case: Case, device: Any) -> Step:
        """Unsupported for settings that the operator does not have."""
        reason = self._refuses(case)
        if reason is not None:
            raise Unsupported(f"{case.workload}: {reason}")
        self._case = case
        self._step = self.make(case, torch.device(device))
        return self._step

    def make(self, case: Case, device: torch.device) -> Step:
        raise NotImplementedError

    def _refuses(self, case: Case) -> str | None:
        autocast = PRECISIONS[case.precision].autocast
        refused = {
            "an operator alone has no backward here; set `mode: infer`": case.mode == "train" and not self.trains,
            "autocast belongs to a model; give the operator's own type (fp16, bf16)": autocast is not None,
            "it computes nothing, so it has no precision; leave it at fp32": not self.has_precision
            and case.precision != "fp32",
            "a single operator is not compiled": case.compile != "off",
            "an operator has no micro-steps (`accumulate`)": case.accumulate != 1,
            "a synchronised request would measure the wait; use `timing: throughput`": case.timing != "throughput",
        }
        return next((reason for reason, holds in refused.items() if holds), self.refuses(case))

    def refuses(self, case: Case) -> str | None:
        """Why this operator cannot run the case, or None."""
        captured = "its inputs would not rotate in a CUDA graph, which replays fixed addresses"
        return captured if case.cuda_graph else None

    def probe(self) -> dict[str, Any]:
        """Dtypes and layout seen in a few extra steps."""
        assert self._case is not None, "build comes first"
        assert self._step is not None
        seen = observe(self._step, self._case.device_type)
        return {
            **seen,
            "parameter_dtype": seen["compute_dtype"],
            "batch_size": self._case.batch,
            "cuda_graph": self._case.cuda_graph,
        }

    def close(self) -> None:
        self._step = None


def sizes(case: Case, default: str, meaning: str, num: Sequence[int]) -> tuple[int, ...]:
    """The numbers of `shape`; `num` lists how many are allowed. UsageError that explains them with `meaning`."""
    shape = case.shape or default
    parts = shape.split("x")
    if not all(part.isdigit() for part in parts) or len(parts) not in num:
        raise UsageError(f"{case.workload} cannot read `shape: {shape}`.", hint=f"A shape here is {meaning}.")
    return tuple(int(part) for part in parts)


def dtype_of(case: Case) -> torch.dtype:
    return NUMERICS[case.precision].weights


def last_cache_bytes(device: torch.device, cpus: Path = _CPUS) -> int:
    """Size of a GPU's L2 cache; for a CPU, of all its largest caches together, as each may serve only some cores. 64
    MiB if unknown.
    """
    if device.type != "cpu":
        return accelerator_of(device).last_cache_bytes() or UNKNOWN_CACHE_BYTES
    sizes: dict[int, set[str | None]] = {}
    for folder in cpus.glob("cpu[0-9]*/cache/index*"):
        text = read_text(folder / "size") or ""
        if text[:-1].isdigit() and text[-1] in _KIB:
            sizes.setdefault(int(text[:-1]) * _KIB[text[-1]], set()).add(read_text(folder / "shared_cpu_list"))
    return max(sizes) * len(sizes[max(sizes)]) if sizes else UNKNOWN_CACHE_BYTES


def num_sets(set_bytes: int, cache_bytes: int) -> int:
    """Input sets to rotate through: enough to fill three caches, and at least two."""
    return max(2, math.ceil(CACHES * cache_bytes / set_bytes))


def rotation(sets: Sequence[Inputs]) -> Callable[[], Inputs]:
    """A function that returns one set after the other, for ever."""
    endless: Iterator[Inputs] = cycle(sets)
    return endless.__next__


def random_tensors(
    num: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int
) -> tuple[torch.Tensor, ...]:
    """Seeded standard normal tensors, all in one allocation."""
    generator = torch.Generator(device).manual_seed(seed)
    drawn = dtype if dtype.itemsize > 1 else torch.bfloat16  # there is no generator of eight bits
    return torch.randn((num, *shape), generator=generator, dtype=drawn, device=device).to(dtype).unbind()
