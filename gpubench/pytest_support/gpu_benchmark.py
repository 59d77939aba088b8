"""The `gpu_benchmark` fixture: pytest-benchmark's with a device clock, memory, energy and limits."""

import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gpubench.analysis.compare.pytest_benchmark_side import EXTRA_KEY
from gpubench.core.deferred import HINT, deferred, makes_deferred
from gpubench.core.instruments import instruments
from gpubench.core.units import format_bytes, format_duration
from gpubench.pytest_support.plugin_options import Options, broken_limits
from gpubench.telemetry.monitor import Monitor

if TYPE_CHECKING:
    from gpubench.worker.timing.pytest_timer import CudaRounds

_NEEDED = ("_make_runner", "_min_time", "_timer", "extra_info", "stats")
NO_TORCH = "torch was not imported by this test"
NO_CUDA = "torch sees no CUDA device"
ON_CPU = "the test runs on the CPU"


class GpuBenchmark:
    """Called like `benchmark`. Its attribute `benchmark` is pytest-benchmark's fixture, for everything else."""

    def __init__(self, benchmark: Any, options: Options, monitor: Callable[[], Monitor]) -> None:
        missing = [name for name in _NEEDED if not hasattr(benchmark, name)]
        home = type(benchmark).__module__.partition(".")[0]
        if missing and home != "pytest_benchmark":
            raise pytest.UsageError(
                f"gpu_benchmark needs the fixture `benchmark` of pytest-benchmark, but found that of {home}: "
                "another plugin has taken its place (pytest-codspeed does, with --codspeed)"
            )
        if missing:
            raise pytest.UsageError(f"this pytest-benchmark has no {missing[0]}: gpubench knows versions 5.0 to 5.3")
        self.benchmark = benchmark
        self._options = options
        self._monitor = monitor

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Time `function(*args, **kwargs)` and return its result. Fails the test if a limit of its marker is broken."""
        return self._measured(function, lambda: self.benchmark(function, *args, **kwargs))

    def pedantic(self, target: Callable[..., Any], **options: Any) -> Any:
        """The same with given rounds, iterations and warm-up, like `benchmark.pedantic`."""
        return self._measured(target, lambda: self.benchmark.pedantic(target, **options))

    @property
    def extra_info(self) -> dict[str, Any]:
        """Stored with the test in the JSON file; the key `gpubench` is reserved."""
        info: dict[str, Any] = self.benchmark.extra_info
        return info

    @property
    def stats(self) -> Any:
        """pytest-benchmark's statistics; None before the call, and if benchmarks are disabled."""
        return self.benchmark.stats

    @property
    def group(self) -> str | None:
        group: str | None = self.benchmark.group
        return group

    @group.setter
    def group(self, name: str | None) -> None:
        self.benchmark.group = name

    def _measured(self, function: Callable[..., Any], run: Callable[[], Any]) -> Any:
        self._refuse(makes_deferred(function))
        rounds, why_not = self._rounds()
        own: dict[str, Any] = {
            "clock": "perf_counter" if rounds is None else "cuda_event",
            "l2_flush": rounds is not None and self._options.l2_flush,
            "limits": dict(self._options.max_regression),
            "metrics": {},
            "absent": {},
        }
        self.extra_info[EXTRA_KEY] = own
        if rounds is None:
            own["absent"] = dict.fromkeys(("peak_memory_allocated_bytes", "energy_per_sample_j"), why_not)
            result = run()
        else:
            result = self._on_device(rounds, run, own)
        self._refuse(deferred(result))
        watchers = instruments(traced=False)  # pytest-benchmark removes trace functions during the call
        if watchers:
            message = f"the times contain the work of {', '.join(watchers)}"
            warnings.warn(pytest.PytestWarning(message), stacklevel=3)
        if self.stats is not None:
            broken = broken_limits(self._options, list(self.stats.stats.data), own["metrics"])
            if broken:
                pytest.fail("; ".join(broken), pytrace=False)
        unchecked, most = [], self._options.max_memory_bytes
        if self.stats is None and self._options.max_time_s is not None:
            unchecked.append(f"max_time={format_duration(self._options.max_time_s)}")
        if most is not None and (self.stats is None or rounds is None):
            unchecked.append(f"max_memory={format_bytes(most)}")
        if unchecked:
            disabled = "benchmarks are disabled (--benchmark-disable, or several processes of pytest-xdist)"
            why = disabled if self.stats is None else why_not
            message = f"{' and '.join(unchecked)} {'was' if len(unchecked) == 1 else 'were'} not checked: {why}"
            warnings.warn(pytest.PytestWarning(message), stacklevel=3)
        return result

    def _refuse(self, unfinished: str | None) -> None:
        """Fails the test if its call only returns a coroutine, a generator or the like, which does no work."""
        if unfinished is not None:
            self.benchmark._mode = "gpu_benchmark"  # noqa: SLF001 - or pytest-benchmark warns that it was not used
            pytest.fail(f"the benchmarked call returns {unfinished}, so nothing was timed. {HINT}", pytrace=False)

    def _rounds(self) -> "tuple[CudaRounds | None, str]":
        """The device's clock, or why the host's is used. pytest.UsageError if CUDA was requested and is missing."""
        if self._options.device == "cpu":
            return None, ON_CPU
        torch = sys.modules.get("torch")
        why_not = NO_TORCH if torch is None else "" if torch.cuda.is_available() else NO_CUDA
        if torch is None or why_not:
            if self._options.device != "auto":
                raise pytest.UsageError(f"gpu_benchmark was asked for {self._options.device}, but {why_not}")
            return None, why_not
        from gpubench.worker.timing.pytest_timer import CudaRounds

        name = "cuda" if self._options.device == "auto" else self._options.device
        return CudaRounds(torch, torch.device(name), l2_flush=self._options.l2_flush), ""

    def _on_device(self, rounds: "CudaRounds", run: Callable[[], Any], own: dict[str, Any]) -> Any:
        from gpubench.worker.timing.pytest_timer import MIN_GROUP_S

        fixture = self.benchmark
        fixture._make_runner = rounds.runner  # noqa: SLF001 - the only way to give it another clock
        fixture._timer = rounds.clock  # noqa: SLF001
        fixture._min_time = max(fixture._min_time, MIN_GROUP_S)  # noqa: SLF001
        own["device"] = rounds.device_name
        monitor = self._monitor() if self._options.energy else None
        rounds.start_peaks()
        started_s = time.monotonic()
        result = run()
        rounds.clock()
        ended_s = time.monotonic()
        own["metrics"] |= rounds.peaks()
        if monitor is None:
            own["absent"]["energy_per_sample_j"] = "not asked for (--gpubench-energy)"
            return result
        energy_j, reason = energy_of(monitor, started_s, ended_s)
        if energy_j is None or rounds.num_calls == 0:
            own["absent"]["energy_per_sample_j"] = reason
        else:  # one call is one sample
            own["metrics"]["energy_per_sample_j"] = energy_j / rounds.num_calls
        return result


def open_monitor(device: str) -> Monitor:
    """Samples the device (`auto`, `cuda`: CUDA's first). Takes up to three seconds; never fails, see `reason`."""
    _, _, number = device.partition(":")
    monitor = Monitor(int(number) if number.isdigit() else 0)
    monitor.open()
    return monitor


def energy_of(monitor: Monitor, started_s: float, ended_s: float) -> tuple[float | None, str]:
    """Joules between two times of `time.monotonic()`, or None and why there is no valid figure."""
    window = monitor.window(started_s, ended_s)
    if window.energy_j is None or not window.energy_valid:
        return None, window.energy_invalid_reason or window.absent.get("energy_j") or monitor.reason
    return window.energy_j, ""
