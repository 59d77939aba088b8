"""`operators:copy`, `read`, `write` and `triad`: memory bandwidth; `operators:launch`: launch overhead."""

from typing import Any

import torch

from gpubench.core.errors import UsageError
from gpubench.core.units import parse_bytes
from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.base import ParityProbe, Step
from gpubench.worker.workloads.operators.operator import Operator, last_cache_bytes, num_sets, rotation

COPY_SHAPE = "256MiB"
_CHECKED_BYTES = 4096
_CHECKED_ELEMENTS = 1024
_FLOAT_BYTES = 4
_GRAPH_WARMUPS = 3


class Copy(Operator):
    """A step is `batch_size` copies of `shape` bytes, a sample is one copy. `data_path` is the source: `resident`
    copies within the device's memory, `pinned` and `pageable` from the host's.
    """

    name = "copy"
    has_precision = False

    def refuses(self, case: Case) -> str | None:
        if case.data_path == "loader":
            return "copies start from `resident`, `pinned` or `pageable` memory"
        return super().refuses(case)

    def bytes_per_sample(self, case: Case) -> float:
        """Within one memory every byte is read and written; over a link it passes once."""
        return float(array_bytes(case) * (2 if case.data_path == "resident" else 1))

    def make(self, case: Case, device: torch.device) -> Step:
        num_bytes = array_bytes(case)
        num = num_sets(2 * num_bytes, last_cache_bytes(device))
        sources = _random_bytes(num, num_bytes, self._source(case, device), case.seed)
        if case.data_path == "pinned":
            sources = tuple(source.pin_memory() for source in sources)
        targets = [torch.empty(num_bytes, dtype=torch.uint8, device=device) for _ in range(num)]
        take = rotation(list(zip(sources, targets, strict=True)))
        calls, asynchronous = range(case.batch), case.data_path == "pinned"

        def copies() -> torch.Tensor:
            for _ in calls:
                source, target = take()
                target.copy_(source, non_blocking=asynchronous)
            return target

        return copies

    def probe(self) -> dict[str, Any]:
        assert self._case is not None, "build comes first"
        return {**super().probe(), "data_path": self._case.data_path}

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Compares the first bytes of a full copy with the source."""
        device = torch.device(device)
        (source,) = _random_bytes(1, array_bytes(case), self._source(case, device), case.seed)
        target = torch.zeros_like(source, device=device).copy_(source)
        got, expected = (each[:_CHECKED_BYTES].cpu().double().reshape(1, -1) for each in (target, source))
        return ParityProbe(got, got.mean(), None, expected, expected.mean(), None, num_samples=1)

    @staticmethod
    def _source(case: Case, device: torch.device) -> torch.device:
        return device if case.data_path == "resident" else torch.device("cpu")


class _Stream(Operator):
    """A step is `batch_size` passes over fp32 arrays of `shape` bytes in the device's memory; a sample is one pass.

    Bytes are counted as in STREAM (McCalpin 1995): what the program reads and writes. A CPU's extra read of a cache
    line before writing it is not counted.
    """

    has_precision = False
    num_arrays = 1

    def refuses(self, case: Case) -> str | None:
        if case.data_path != "resident":
            return "it stays within the device's memory; leave `data_path` at resident"
        return super().refuses(case)

    def bytes_per_sample(self, case: Case) -> float:
        return float(_num_floats(case) * _FLOAT_BYTES * self.num_arrays)

    def make(self, case: Case, device: torch.device) -> Step:
        num = num_sets(int(self.bytes_per_sample(case)), last_cache_bytes(device))
        take = rotation([self.arrays(case, device, seed) for seed in range(num)])
        calls = range(case.batch)

        def passes() -> torch.Tensor:
            with torch.inference_mode():
                for _ in calls:
                    result = self.one_pass(*take())
            return result

        return passes

    def arrays(self, case: Case, device: torch.device, number: int) -> tuple[torch.Tensor, ...]:
        """Uniform in [0, 1)."""
        generator = torch.Generator(device).manual_seed(case.seed + number)
        return tuple(
            torch.rand(_num_floats(case), generator=generator, device=device, dtype=torch.float32)
            for _ in range(self.num_arrays)
        )

    @staticmethod
    def one_pass(*arrays: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    @staticmethod
    def in_fp64(*arrays: torch.Tensor) -> torch.Tensor:
        """The expected result of a pass, from the arrays as they were before it."""
        raise NotImplementedError

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Compares the sum, or both ends of the written array."""
        arrays = self.arrays(case, torch.device(device), 0)
        before = [each.cpu().double() for each in arrays]
        with torch.inference_mode():
            got, expected = (_both_ends(each) for each in (self.one_pass(*arrays), self.in_fp64(*before)))
        return ParityProbe(got, got.mean(), None, expected, expected.mean(), None, num_samples=1)


class Read(_Stream):
    """The sum of an array."""

    name = "read"

    @staticmethod
    def one_pass(*arrays: torch.Tensor) -> torch.Tensor:
        return arrays[0].sum()

    @staticmethod
    def in_fp64(*arrays: torch.Tensor) -> torch.Tensor:
        return arrays[0].sum()


class Write(_Stream):
    """One value into every element of an array."""

    name = "write"
    value = 0.75

    @staticmethod
    def one_pass(*arrays: torch.Tensor) -> torch.Tensor:
        return arrays[0].fill_(Write.value)

    @staticmethod
    def in_fp64(*arrays: torch.Tensor) -> torch.Tensor:
        return torch.full_like(arrays[0], Write.value)


class Triad(_Stream):
    """`a = b + 3 c`: two arrays read, one written."""

    name = "triad"
    num_arrays = 3

    @staticmethod
    def one_pass(*arrays: torch.Tensor) -> torch.Tensor:
        target, left, right = arrays
        return torch.add(left, right, alpha=3, out=target)

    @staticmethod
    def in_fp64(*arrays: torch.Tensor) -> torch.Tensor:
        return arrays[1] + 3 * arrays[2]


class EmptyLaunch(Operator):
    """A step is `batch_size` operators on one element each, so that launching is all the work. A sample is one
    operator.

    With `cuda_graph` the step is captured and replayed: this is the device's own launch overhead.
    """

    name = "launch"
    has_precision = False

    def refuses(self, case: Case) -> str | None:
        return None if case.shape is None else "it has no `shape`; `batch_size` is the number of launches in a step"

    def make(self, case: Case, device: torch.device) -> Step:
        element = torch.ones(1, device=device)
        calls = range(case.batch)

        def launches() -> torch.Tensor:
            for _ in calls:
                element.neg_()
            return element

        if not case.cuda_graph:
            return launches
        replay, result = accelerator_of(device).capture(launches, num_warmups=_GRAPH_WARMUPS)

        def replayed() -> object:
            replay()
            return result

        return replayed

    def parity(self, case: Case, device: Any) -> ParityProbe:
        """Each launch flips the sign, so the result shows whether one was left out."""
        result = self.make(case.model_copy(update={"cuda_graph": False}), torch.device(device))()
        got = torch.as_tensor(result).double().cpu().reshape(1, 1)
        expected = torch.full((1, 1), -1.0 if case.batch % 2 else 1.0, dtype=torch.float64)
        return ParityProbe(got, got.sum(), None, expected, expected.sum(), None, num_samples=case.batch)


def array_bytes(case: Case) -> int:
    """The size in `shape`. UsageError if it is not a size."""
    shape = case.shape or COPY_SHAPE
    if "x" in shape:
        raise UsageError(f"{case.workload} cannot read `shape: {shape}`.", hint="A shape here is a size: `256MiB`.")
    return parse_bytes(int(shape) if shape.isdigit() else shape)


def _num_floats(case: Case) -> int:
    return max(1, array_bytes(case) // _FLOAT_BYTES)


def _both_ends(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.reshape(-1)
    ends = torch.cat((flat[:_CHECKED_ELEMENTS], flat[-_CHECKED_ELEMENTS:]))
    return ends.cpu().double().reshape(1, -1)


def _random_bytes(num: int, num_bytes: int, device: torch.device, seed: int) -> tuple[torch.Tensor, ...]:
    """Seeded, uniform bytes, generated four at a time because that is faster."""
    generator = torch.Generator(device).manual_seed(seed)
    words = -(-num_bytes // 4)
    low, high = torch.iinfo(torch.int32).min, torch.iinfo(torch.int32).max
    rows = torch.randint(low, high, (num, words), generator=generator, dtype=torch.int32, device=device)
    return tuple(row.view(torch.uint8)[:num_bytes] for row in rows)
