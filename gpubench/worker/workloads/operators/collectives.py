"""`workload: collectives:<name>`: one collective of several ranks at a time.

Sizes and bandwidths are defined as in nccl-tests (github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md), so that figures
compare with its tables.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from gpubench.core.errors import UsageError
from gpubench.core.units import parse_bytes
from gpubench.suite.model.case import Case
from gpubench.suite.model.workload_names import LINK
from gpubench.worker.workloads.base import ParityProbe, Step, Unsupported
from gpubench.worker.workloads.numerics import dtype_name
from gpubench.worker.workloads.operators.operator import Operator, dtype_of

MESSAGE = "64MiB"
ROOT = 0

_PATTERN = 13
"""Inputs are whole numbers below this: bf16 adds those of 16 ranks without rounding, fp32 those of any number."""

Call = Callable[[], object]


def bus_factor(name: str, num_ranks: int) -> float:
    """Bus bandwidth divided by algorithm bandwidth: bytes that each rank's link carries per byte of the message, at
    least.

    all_reduce 2(n-1)/n; all_gather, reduce_scatter and all_to_all (n-1)/n; broadcast and send_recv 1.
    """
    part = (num_ranks - 1) / num_ranks
    return {"all_reduce": 2 * part, "broadcast": 1.0, "send_recv": 1.0}.get(name, part)


class Collective(Operator):
    """A step is `batch_size` calls of one collective on `shape` bytes each; a sample is one call.

    The size is that of the whole message, as in nccl-tests: a rank's output for all_gather, its input for
    reduce_scatter and all_to_all, and either for the others. `send_recv` is a ring: each rank sends to the next and
    receives from the previous one. broadcast is from rank 0.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def num_elements(self, case: Case) -> int:
        """Elements of the message, rounded down to a multiple of the number of ranks. UsageError if that is 0, or if
        the case states a link that is no size.
        """
        shape = case.shape or MESSAGE
        try:
            parse_bytes(case.params.get(LINK, 1))
        except ValueError as error:
            raise UsageError(f"`params.{LINK}`: {error}", hint="It is the link's bytes per second: `450GB`.") from error
        if "x" in shape:
            raise UsageError(f"{case.workload} cannot read `shape: {shape}`.", hint="A shape here is a size: `1MiB`.")
        num_bytes = parse_bytes(int(shape) if shape.isdigit() else shape)
        num_elements = num_bytes // dtype_of(case).itemsize // case.world_size * case.world_size
        if num_elements == 0:
            raise UsageError(f"`shape: {shape}` is too small: {case.world_size} ranks have no element each.")
        return num_elements

    def message_bytes(self, case: Case) -> int:
        return self.num_elements(case) * dtype_of(case).itemsize

    def refuses(self, case: Case) -> str | None:
        refused = {
            "it takes at least two ranks; set `world_size`": case.world_size < 2,
            "it computes in the type of its elements; TF32 is none (use fp32)": case.precision == "tf32",
            "its tensors are on the device; leave `data_path` at resident": case.data_path != "resident",
        }
        return next((reason for reason, holds in refused.items() if holds), super().refuses(case))

    def make(self, case: Case, device: torch.device) -> Step:
        call = self._call(self._filled(case, device, dist.get_rank()))[0]
        calls = range(case.batch)
        try:
            call()
        except RuntimeError as error:
            if "support" not in str(error).lower():
                raise
            raise Unsupported(f"{case.carrier} of this torch has no {self.name} on {device.type}: {error}") from error

        def step() -> None:
            for _ in calls:
                call()

        return step

    def probe(self) -> dict[str, Any]:
        """The dtype of the message. No step is watched: extra steps on one rank would wait for the others for ever."""
        assert self._case is not None, "build comes first"
        dtype = dtype_name(dtype_of(self._case))
        message = {"message_bytes": self.message_bytes(self._case), "backend": dist.get_backend()}
        types = {"compute_dtype": dtype, "parameter_dtype": dtype}
        return {**types, "batch_size": self._case.batch, "extra": message}

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Compares every element of the rank's output with what all inputs give. Every rank must call it."""
        rank, num_ranks, device = dist.get_rank(), dist.get_world_size(), torch.device(device)
        call, result = self._call(self._filled(case, device, rank))
        call()
        inputs = [self._filled(case, torch.device("cpu"), each).double() for each in range(num_ranks)]
        found, expected = result.cpu().double().reshape(1, -1), self._expected(inputs, rank).reshape(1, -1)
        return ParityProbe(found, found.mean(), None, expected, expected.mean(), None, num_samples=1)

    def _filled(self, case: Case, device: torch.device, rank: int) -> torch.Tensor:
        """A rank's input: whole numbers that differ between ranks and positions."""
        places = torch.arange(self.num_elements(case), device=device)
        return ((places * 5 + rank * 3 + places // _PATTERN) % _PATTERN).to(dtype_of(case))

    def _call(self, message: torch.Tensor) -> tuple[Call, torch.Tensor]:
        """A function that runs the collective, and the tensor that receives the result."""
        rank, num_ranks = dist.get_rank(), dist.get_world_size()
        part = message.numel() // num_ranks
        if self.name == "all_reduce":
            return lambda: dist.all_reduce(message), message
        if self.name == "broadcast":
            return lambda: dist.broadcast(message, ROOT), message
        result = torch.zeros_like(message)
        if self.name == "all_gather":
            gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
            own = message[rank * part : (rank + 1) * part].clone()
            return lambda: gather(result, own), result
        if self.name == "reduce_scatter":
            scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
            share = result[:part].clone()
            return lambda: scatter(share, message), share
        if self.name == "all_to_all":
            return lambda: dist.all_to_all_single(result, message), result

        def ring() -> None:
            send = dist.P2POp(dist.isend, message, (rank + 1) % num_ranks)
            receive = dist.P2POp(dist.irecv, result, (rank - 1) % num_ranks)
            for work in dist.batch_isend_irecv([send, receive]):
                work.wait()

        return ring, result

    def _expected(self, inputs: list[torch.Tensor], rank: int) -> torch.Tensor:
        num_ranks, part = len(inputs), inputs[0].numel() // len(inputs)
        own_part = slice(rank * part, (rank + 1) * part)
        if self.name in ("all_reduce", "reduce_scatter"):
            total = torch.stack(inputs).sum(0)
            return total if self.name == "all_reduce" else total[own_part]
        if self.name == "broadcast":
            return inputs[ROOT]
        if self.name == "all_gather":
            return torch.cat([each[k * part : (k + 1) * part] for k, each in enumerate(inputs)])
        if self.name == "all_to_all":
            return torch.cat([each[own_part] for each in inputs])
        return inputs[(rank - 1) % num_ranks]

    def bandwidths(self, case: Case, step_time_s: float) -> dict[str, float | None]:
        """`algbw` and `busbw` in bytes per second, given the seconds of a step."""
        algbw = self.message_bytes(case) * case.batch / step_time_s
        return {"algbw": algbw, "busbw": algbw * bus_factor(self.name, case.world_size)}
