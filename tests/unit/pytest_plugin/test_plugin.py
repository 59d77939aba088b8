import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from unittest.mock import Mock

import numpy as np  # noqa: F401 - what a pytest inside this one imports is taken out again, and numpy cannot be imported twice
import pytest
from fakes.torch_module import FakeTorch, TorchCuda

from gpubench.pytest_support import gpu_benchmark
from gpubench.store.pytest_benchmark_files import read_pytest_file

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
LOADED = bool(entry_points(group="pytest11", name="gpubench"))
PLUGIN = () if LOADED else ("-p", "gpubench.pytest_plugin")
QUICK = (
    "--benchmark-max-time=0.005",
    "--benchmark-min-rounds=5",
    "--benchmark-calibration-precision=1",
    "-p",
    "no:cacheprovider",
)


# Asking the processor and git for their names takes longer than all the rest.
CONFTEST = """
def pytest_benchmark_generate_machine_info():
    return {"node": "ci-1"}

def pytest_benchmark_generate_commit_info():
    return {}
"""


@pytest.fixture
def run(pytester):
    """Runs pytest on one test file; returns its result and, by test name, what it left in the JSON file."""

    def run_file(source: str, *arguments: str, save: bool = True):
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_it=source)
        saved = ["--benchmark-json=out.json"] if save else []
        result = pytester.runpytest(*PLUGIN, *QUICK, "--strict-markers", "-W", "error", *saved, *arguments)
        path = pytester.path / "out.json"
        return result, {test["name"]: test for test in json.loads(path.read_text())["benchmarks"]} if save else {}

    return run_file


@pytest.fixture
def torch(monkeypatch):
    """A fake torch that the tests have imported: a call of `work()` is a kernel of 250 us."""
    module = FakeTorch(TorchCuda())
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)


KERNEL = """
import sys
torch = sys.modules["torch"]
def work():
    torch.cuda.launch(host_ns=2000, device_ns=250_000)
    torch.cuda.allocate(4096)
    return 7
"""


def test_without_a_gpu_it_is_pytest_benchmarks_own_clock(run, no_torch):
    result, tests = run("def test_sum(gpu_benchmark):\n    assert gpu_benchmark(sum, [1, 2]) == 3\n")
    result.assert_outcomes(passed=1)
    own = tests["test_sum"]["extra_info"]["gpubench"]
    assert (own["clock"], own["metrics"]) == ("perf_counter", {})
    assert own["absent"]["peak_memory_allocated_bytes"] == "torch was not imported by this test"
    assert tests["test_sum"]["stats"]["rounds"] >= 5


def test_on_a_gpu_the_times_are_those_of_events_in_groups_of_a_millisecond(run, torch):
    result, tests = run(KERNEL + "def test_k(gpu_benchmark):\n    assert gpu_benchmark(work) == 7\n")
    result.assert_outcomes(passed=1)
    stats, own = tests["test_k"]["stats"], tests["test_k"]["extra_info"]["gpubench"]
    assert stats["median"] == pytest.approx(250e-6, rel=0.01)
    assert stats["iterations"] >= 4
    assert (own["clock"], own["device"]) == ("cuda_event", "NVIDIA Imaginary")
    assert own["metrics"]["peak_memory_allocated_bytes"] == 5096.0
    assert own["absent"]["energy_per_sample_j"] == "not asked for (--gpubench-energy)"


def test_the_l2_cache_may_be_flushed_before_each_call(run, torch):
    result, tests = run(
        KERNEL
        + "import pytest\n@pytest.mark.gpubench(l2_flush=True)\ndef test_k(gpu_benchmark):\n    gpu_benchmark(work)\n"
    )
    result.assert_outcomes(passed=1)
    stats = tests["test_k"]["stats"]
    assert stats["median"] == pytest.approx(250e-6, rel=0.01)
    assert torch.flushes >= stats["rounds"] * stats["iterations"]


def test_pedantic_gives_rounds_and_iterations(run, torch):
    result, tests = run(
        KERNEL
        + "def test_k(gpu_benchmark):\n    assert gpu_benchmark.pedantic(work, rounds=3, iterations=2, warmup_rounds=1) == 7\n"
    )
    result.assert_outcomes(passed=1)
    stats = tests["test_k"]["stats"]
    assert (stats["rounds"], stats["iterations"]) == (3, 2)
    assert stats["median"] == pytest.approx(251e-6, rel=0.01)


def test_the_host_clock_may_be_asked_for(run, torch):
    _, tests = run(KERNEL + "def test_k(gpu_benchmark):\n    gpu_benchmark(work)\n", "--gpubench-device=cpu")
    assert tests["test_k"]["extra_info"]["gpubench"]["clock"] == "perf_counter"


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(run, no_torch):
    unused = "default::pytest_benchmark.logger.PytestBenchmarkWarning"
    result, _ = run(
        "def test_k(gpu_benchmark):\n    gpu_benchmark(sum, [1])\n", "--gpubench-device=cuda", "-W", unused, save=False
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*gpu_benchmark was asked for cuda, but torch was not imported by this test*"])


def test_a_time_limit_fails_the_test_and_its_figures_are_kept(run, torch):
    source = (
        KERNEL
        + "import pytest\n@pytest.mark.gpubench(max_time='0.1ms')\ndef test_k(gpu_benchmark):\n    gpu_benchmark(work)\n"
    )
    result, tests = run(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a call takes 250 us (with 95 % confidence more than 250 us), limit 100 us*"])
    assert tests["test_k"]["stats"]["median"] == pytest.approx(250e-6, rel=0.01)


def test_a_time_limit_that_is_kept_passes(run, torch):
    source = (
        KERNEL
        + "import pytest\n@pytest.mark.gpubench(max_time='1ms', max_memory='1MiB')\ndef test_k(gpu_benchmark):\n    gpu_benchmark(work)\n"
    )
    result, _ = run(source)
    result.assert_outcomes(passed=1)


def test_a_memory_limit_fails_the_test(run, torch):
    source = (
        KERNEL
        + "import pytest\n@pytest.mark.gpubench(max_memory='1KiB')\ndef test_k(gpu_benchmark):\n    gpu_benchmark(work)\n"
    )
    result, _ = run(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*peak memory 5.0 KiB, limit 1.0 KiB*"])


@pytest.mark.parametrize(
    ("options", "why_not"),
    [((), "torch was not imported by this test"), (("--gpubench-device=cpu",), "the test runs on the CPU")],
)
def test_a_memory_limit_that_cannot_be_checked_is_a_warning(run, no_torch, options, why_not):
    source = "import pytest\n@pytest.mark.gpubench(max_memory='1GiB')\ndef test_k(gpu_benchmark):\n    gpu_benchmark(sum, [1])\n"
    result, tests = run(source, *options, "-W", "default::pytest.PytestWarning")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines([f"*PytestWarning: max_memory=1.0 GiB was not checked: {why_not}*"])
    assert tests["test_k"]["extra_info"]["gpubench"]["absent"]["peak_memory_allocated_bytes"] == why_not


def test_one_slow_round_breaks_no_time_limit(run, no_torch):
    source = """
        import pytest, time
        calls = []
        def work():
            calls.append(1)
            if len(calls) == 5:
                time.sleep(0.3)
        @pytest.mark.gpubench(max_time='100ms')
        def test_k(gpu_benchmark):
            gpu_benchmark.pedantic(work, rounds=20)
    """
    result, _ = run(source)
    result.assert_outcomes(passed=1)


def test_limits_of_a_marker_reach_gpubench_check(run, no_torch, pytester):
    source = """
        import pytest
        pytestmark = pytest.mark.gpubench(max_regression='10%')
        def test_general(gpu_benchmark):
            gpu_benchmark(sum, [1])
        @pytest.mark.gpubench(max_regression={'step_time_s': '2%', 'peak_memory_allocated_bytes': '1%'})
        def test_own(gpu_benchmark):
            gpu_benchmark(sum, [1])
    """
    result, tests = run(source)
    result.assert_outcomes(passed=2)
    assert tests["test_general"]["extra_info"]["gpubench"]["limits"] == {"step_time_s": 0.1}
    assert tests["test_own"]["extra_info"]["gpubench"]["limits"] == {
        "step_time_s": 0.02,
        "peak_memory_allocated_bytes": 0.01,
    }
    assert len(read_pytest_file(pytester.path / "out.json").tests) == 2


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("gpubench('5%')", "takes only keywords"),
        ("gpubench(max_tme='1ms')", "has no 'max_tme'"),
        ("gpubench(max_time='fast')", "max_time: expected a duration"),
        ("gpubench(max_memory='-1')", "max_memory: must not be below 0"),
        ("gpubench(max_regression={'speed': '5%'})", "'speed' is not a metric that can get worse"),
        ("gpubench(max_regression={'step_tim_s': '5%'})", "did you mean 'step_time_s'?"),
        ("gpubench(max_regression=5)", "max_regression: 5 is 500%; write '5%'"),
        ("gpubench(max_regression={'step_time_s': '3'})", "max_regression: 3 is 300%; write '3%'"),
        ("gpubench(device='gpu')", "there is no device 'gpu': choose auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_marker_that_makes_no_sense_is_an_error_with_its_reason(run, no_torch, marker, said):
    result, _ = run(
        f"import pytest\n@pytest.mark.{marker}\ndef test_k(gpu_benchmark):\n    gpu_benchmark(sum, [1])\n", save=False
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{said}*"])


@pytest.mark.parametrize(
    ("option", "outcome"),
    [("--benchmark-disable", {"passed": 1}), ("--benchmark-skip", {"skipped": 1}), ("--benchmark-only", {"passed": 1})],
)
def test_pytest_benchmarks_own_options_keep_working(run, torch, option, outcome):
    result, _ = run(KERNEL + "def test_k(gpu_benchmark):\n    assert gpu_benchmark(work) == 7\n", option, save=False)
    result.assert_outcomes(**outcome)


def test_comparing_with_a_saved_run_keeps_working(run, torch):
    source = KERNEL + "def test_k(gpu_benchmark):\n    gpu_benchmark.group = 'kernels'\n    gpu_benchmark(work)\n"
    run(source, "--benchmark-save=first")
    result, tests = run(source, "--benchmark-compare", "--benchmark-compare-fail=median:50%")
    result.assert_outcomes(passed=1)
    assert tests["test_k"]["group"] == "kernels"
    result.stdout.fnmatch_lines(["*benchmark 'kernels': 2 tests*"])


def test_an_ordinary_benchmark_in_the_same_file_is_left_alone(run, torch):
    _, tests = run(KERNEL + "def test_plain(benchmark):\n    benchmark(sum, [1])\n")
    assert "gpubench" not in tests["test_plain"]["extra_info"]


def test_energy_is_per_call_where_it_is_valid_and_absent_with_its_reason_elsewhere(run, torch, monkeypatch):
    monkeypatch.setattr(gpu_benchmark, "open_monitor", lambda device: Mock())
    source = KERNEL + "def test_k(gpu_benchmark):\n    gpu_benchmark.pedantic(work, rounds=5, iterations=3)\n"
    monkeypatch.setattr(gpu_benchmark, "energy_of", lambda *_: (32.0, ""))
    _, tests = run(source, "--gpubench-energy")
    # Fifteen timed calls, and the sixteenth for its result goes past the timer: joules are those of the timed ones.
    assert tests["test_k"]["extra_info"]["gpubench"]["metrics"]["energy_per_sample_j"] == pytest.approx(32.0 / 15)
    monkeypatch.setattr(gpu_benchmark, "energy_of", lambda *_: (None, "the window is too short"))
    _, tests = run(source, "--gpubench-energy")
    assert tests["test_k"]["extra_info"]["gpubench"]["absent"]["energy_per_sample_j"] == "the window is too short"


def test_without_a_driver_energy_is_absent_with_the_reason():
    monitor = gpu_benchmark.open_monitor("auto")
    found, reason = gpu_benchmark.energy_of(monitor, 1.0, 2.0)
    monitor.close()
    if found is None:
        assert reason


def test_the_plugin_brings_nothing_heavy_into_pytest(tmp_path):
    """Every pytest where gpubench is installed loads it."""
    code = "import sys, pytest; before = set(sys.modules); import gpubench.pytest_plugin; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split() == ["gpubench", "gpubench.core", "gpubench.core.version", "gpubench.pytest_plugin"]


def test_the_entry_point_is_declared():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"gpubench": "gpubench.pytest_plugin"}


def test_a_call_that_only_promises_its_work_fails(run):
    result, _ = run(
        """
        async def work():
            pass

        def items():
            yield 1

        def test_coroutine(gpu_benchmark):
            gpu_benchmark(work)

        def test_generator(gpu_benchmark):
            gpu_benchmark.pedantic(items, rounds=2)

        def test_iterator(gpu_benchmark):
            gpu_benchmark(map, int, [])
        """,
        save=False,
    )
    result.assert_outcomes(failed=3)
    for kind in ("a coroutine", "a generator", "an iterator (map)"):
        result.stdout.fnmatch_lines(f"*the benchmarked call returns {kind}, so nothing was timed.*")


LIMITED = """
    import pytest
    @pytest.mark.gpubench(max_time='1ns', max_memory='1GiB')
    def test_k(gpu_benchmark):
        gpu_benchmark(sum, [1])
"""


@pytest.mark.parametrize("options", [("--benchmark-disable",), ("-n", "1")])
def test_limits_that_disabled_benchmarks_cannot_check_are_a_warning(run, no_torch, options):
    result, _ = run(LIMITED, *options, "-W", "default", save=False)
    assert "max_time=0 us and max_memory=1.0 GiB were not checked: benchmarks are disabled" in result.stdout.str()


def test_a_fixture_of_another_plugin_is_named():
    from gpubench.pytest_support.plugin_options import Options

    Fixture = type("BenchmarkFixture", (), {"__module__": "pytest_codspeed.plugin"})
    with pytest.raises(
        pytest.UsageError, match="but found that of pytest_codspeed: another plugin has taken its place"
    ):
        gpu_benchmark.GpuBenchmark(Fixture(), Options(), lambda: None)


def test_an_old_pytest_benchmark_is_named_by_what_it_lacks():
    from gpubench.pytest_support.plugin_options import Options

    Fixture = type("BenchmarkFixture", (), {"__module__": "pytest_benchmark.fixture"})
    with pytest.raises(pytest.UsageError, match="this pytest-benchmark has no _make_runner"):
        gpu_benchmark.GpuBenchmark(Fixture(), Options(), lambda: None)
