"""The pytest plugin: fixture `gpu_benchmark`, marker `gpubench`, options. `docs/ci.md` describes it.

Every pytest run loads it if gpubench is installed, so it imports only pytest here, and never torch: a test that uses
CUDA has imported torch itself.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gpubench.pytest_support.gpu_benchmark import GpuBenchmark
    from gpubench.telemetry.monitor import Monitor

MARKER = (
    "gpubench(max_regression=..., max_time=..., max_memory=..., device=..., l2_flush=...): limits and options of a "
    "gpu_benchmark. max_regression ('5%', or a dict by metric) is the limit of `gpubench check`; max_time ('2ms', per "
    "call) and max_memory ('1GiB', peak allocated on the device) fail the test itself."
)
_MONITOR = pytest.StashKey["Monitor"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpubench")
    group.addoption(
        "--gpubench-device",
        default="auto",
        metavar="DEVICE",
        help="Clock of gpu_benchmark: `cuda`, `cuda:N`, `cpu`, or `auto` (CUDA if the test uses it; default).",
    )
    group.addoption(
        "--gpubench-energy",
        action="store_true",
        help="Measure the energy of each gpu_benchmark (tests must run for seconds).",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A wrong marker is an error before any fixture is set up."""
    if item.get_closest_marker("gpubench") is not None:
        from gpubench.pytest_support.plugin_options import options_of

        options_of(item, item.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    monitor = config.stash.get(_MONITOR, None)
    if monitor is not None:
        monitor.close()


@pytest.fixture
def gpu_benchmark(benchmark: object, request: pytest.FixtureRequest) -> "GpuBenchmark":
    """pytest-benchmark's `benchmark` with the device's clock: `gpu_benchmark(function, *args, **kwargs)`.

    Times are those of CUDA events around groups of calls of at least a millisecond, or of the host if nothing runs on a
    GPU. Everything that pytest-benchmark does with its results works as before.
    """
    from gpubench.pytest_support.gpu_benchmark import GpuBenchmark
    from gpubench.pytest_support.plugin_options import options_of

    return GpuBenchmark(benchmark, options_of(request.node, request.config), lambda: _monitor(request.config))


def _monitor(config: pytest.Config) -> "Monitor":
    """The energy monitor of this session, opened on first use."""
    if _MONITOR not in config.stash:
        from gpubench.pytest_support.gpu_benchmark import open_monitor

        config.stash[_MONITOR] = open_monitor(str(config.getoption("--gpubench-device")))
    return config.stash[_MONITOR]
