"""A device with one stream on a clock that only moves when somebody works: for the logic of timers, not for speed."""

from typing import Any

import torch

from gpubench.worker.accelerator import CapturedGraph, DeviceFacts


class FakeDevice:
    """Host and device have clocks in nanoseconds; `launch` is a kernel.

    `skew` stretches what events say, as a broken device clock would. `max_ahead` is the most kernels that were ever
    waiting.
    """

    def __init__(self, *, skew: float = 1.0, cycles_per_ns: float = 1.5) -> None:
        self.now_ns = 1_000_000_000
        self.device_free_ns = 0
        self.skew = skew
        self.cycles_per_ns = cycles_per_ns
        self.num_synchronised = 0
        self.max_ahead = 0
        self._ends: list[int] = []

    def launch(self, *, host_ns: int, device_ns: int) -> None:
        self.now_ns += host_ns
        self.device_free_ns = max(self.device_free_ns, self.now_ns) + device_ns
        self._ends = [end for end in self._ends if end > self.now_ns] + [self.device_free_ns]
        self.max_ahead = max(self.max_ahead, len(self._ends))

    def clock(self) -> int:
        return self.now_ns

    def seconds(self) -> float:
        return self.now_ns * 1e-9

    def synchronize(self, _device: Any = None) -> None:
        self.num_synchronised += 1
        self.now_ns = max(self.now_ns, self.device_free_ns)

    def spin(self, cycles: int) -> None:
        self.launch(host_ns=1000, device_ns=round(cycles / self.cycles_per_ns))

    def use_clock(self, monkeypatch: Any) -> "FakeDevice":
        """Makes this clock the one that `time` reads."""
        import time

        monkeypatch.setattr(time, "perf_counter_ns", self.clock)
        monkeypatch.setattr(time, "perf_counter", self.seconds)
        monkeypatch.setattr(time, "monotonic", self.seconds)
        return self


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self._device, self._at_ns = device, 0

    def record(self) -> None:
        self._at_ns = max(self._device.device_free_ns, self._device.now_ns)

    def synchronize(self) -> None:
        self._device.now_ns = max(self._device.now_ns, self._at_ns)

    def query(self) -> bool:
        return self._device.now_ns >= self._at_ns

    def elapsed_time(self, later: "FakeEvent") -> float:
        """Milliseconds, as torch has it."""
        return (later._at_ns - self._at_ns) * 1e-6 * self._device.skew


class FakeMemory:
    """An allocator that a test sets: what lies in `workspace` is part of what is allocated until it is given back."""

    def __init__(self) -> None:
        self.workspace = self.num_emptied = 0
        self.counted = {
            "allocated_bytes.all.peak": 900,
            "reserved_bytes.all.peak": 1000,
            "num_alloc_retries": 2,
        }

    def statistics(self) -> dict[str, int]:
        return dict(self.counted)

    def free_and_total(self) -> tuple[int, int]:
        return 60, 100

    def allocated(self) -> int:
        return 300 + self.workspace

    def peak(self) -> int:
        return self.counted["allocated_bytes.all.peak"]

    def reset_peak(self) -> None:
        self.counted |= {"allocated_bytes.all.peak": self.allocated(), "reserved_bytes.all.peak": 400}

    def free_workspaces(self) -> None:
        self.workspace = 0

    def empty_cache(self) -> None:
        self.num_emptied += 1

    def limit(self, num_bytes: int) -> None:
        self.limited_to = num_bytes


class FakeAccelerator(FakeDevice):
    """An accelerator that is not CUDA: tensors stay on the CPU, time and memory are what the test says."""

    asynchronous = True

    def __init__(self, *, skew: float = 1.0) -> None:
        super().__init__(skew=skew)
        self.device = torch.device("cpu")
        self.memory = FakeMemory()
        self.selected = False

    def problem(self) -> str | None:
        return None

    def lacks(self, precision: str) -> str | None:
        return None if precision == "fp32" else f"a fake computes in fp32, not in {precision}"

    def select(self) -> None:
        self.selected = True

    def event(self, *, blocking: bool = False) -> FakeEvent:
        return FakeEvent(self)

    def capture(self, step: Any, *, num_warmups: int, before: Any = lambda: None) -> CapturedGraph:
        before()
        return CapturedGraph(step, step())

    def facts(self) -> DeviceFacts:
        return DeviceFacts("Imaginary 1", "FAKE-0", {"total_bytes": 100})

    def last_cache_bytes(self) -> int | None:
        return None

    def rng_devices(self) -> list[Any]:
        return []
