"""A module that stands in for torch where a test pretends to use CUDA: one device on the clock of `FakeDevice`."""

import contextlib
from types import SimpleNamespace
from typing import Any

from fakes.accelerator import FakeDevice, FakeEvent


class TorchCuda(FakeDevice):
    """`torch.cuda` with the memory and device calls that a benchmark needs."""

    def __init__(self, *, l2_bytes: int = 50 * 2**20) -> None:
        super().__init__()
        self.l2_bytes = l2_bytes
        self.allocated_bytes = 1000
        self.peak_bytes = 0
        self.current: list[str] = []

    def Event(self, *, enable_timing: bool = False, blocking: bool = False) -> FakeEvent:  # noqa: N802
        assert enable_timing
        return FakeEvent(self)

    def is_available(self) -> bool:
        return True

    @contextlib.contextmanager
    def device(self, device: Any) -> Any:
        self.current.append(str(device))
        yield

    def get_device_name(self, _device: Any) -> str:
        return "NVIDIA Imaginary"

    def get_device_properties(self, _device: Any) -> SimpleNamespace:
        return SimpleNamespace(L2_cache_size=self.l2_bytes)

    def reset_peak_memory_stats(self, _device: Any) -> None:
        self.peak_bytes = self.allocated_bytes

    def allocate(self, num_bytes: int) -> None:
        self.peak_bytes = max(self.peak_bytes, self.allocated_bytes + num_bytes)

    def memory_snapshot(self) -> list[dict[str, Any]]:
        return []

    def memory_stats(self, _device: Any) -> dict[str, int]:
        return {"allocated_bytes.all.peak": self.peak_bytes, "reserved_bytes.all.peak": 2 * self.peak_bytes}


class FakeTorch(SimpleNamespace):
    """`flushes` counts writes to the L2 buffer, each a kernel of 40 us."""

    def __init__(self, cuda: TorchCuda) -> None:
        super().__init__(cuda=cuda, device=str, uint8="uint8", version=SimpleNamespace(cuda="13.0", hip=None))
        self.is_anomaly_enabled = lambda: False
        self.autograd = SimpleNamespace(_profiler_enabled=lambda: False)
        self.flushes = 0

    def empty(self, size: int, *, dtype: str, device: str) -> Any:
        assert (dtype, device) == ("uint8", "cuda")
        self.cuda.allocated_bytes += size

        def zero() -> None:
            self.flushes += 1
            self.cuda.launch(host_ns=1000, device_ns=40_000)

        return SimpleNamespace(zero_=zero, numel=lambda: size)
