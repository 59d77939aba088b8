"""A CUDA device with one stream on a clock that only moves when somebody works: for the logic of timers, not for speed."""

from typing import Any


class FakeCuda:
    """Stands in for `torch.cuda`. Host and device have clocks in nanoseconds; `launch` is a kernel.

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

    def _sleep(self, cycles: int) -> None:
        self.launch(host_ns=1000, device_ns=round(cycles / self.cycles_per_ns))

    def Event(self, *, enable_timing: bool = False, blocking: bool = False) -> "FakeEvent":  # noqa: N802
        assert enable_timing
        return FakeEvent(self)

    def use_clock(self, monkeypatch: Any) -> "FakeCuda":
        """Makes this clock the one that `time` reads."""
        import time

        monkeypatch.setattr(time, "perf_counter_ns", self.clock)
        monkeypatch.setattr(time, "perf_counter", self.seconds)
        monkeypatch.setattr(time, "monotonic", self.seconds)
        return self


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda, self._at_ns = cuda, 0

    def record(self) -> None:
        self._at_ns = max(self._cuda.device_free_ns, self._cuda.now_ns)

    def synchronize(self) -> None:
        self._cuda.now_ns = max(self._cuda.now_ns, self._at_ns)

    def query(self) -> bool:
        return self._cuda.now_ns >= self._at_ns

    def elapsed_time(self, later: "FakeEvent") -> float:
        """Milliseconds, as torch has it."""
        return (later._at_ns - self._at_ns) * 1e-6 * self._cuda.skew
