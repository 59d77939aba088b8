"""Cases on the fake CUDA: what the worker does on a GPU, wherever no value and no speed is asked for. `tests/sweep` has all
cases of all suites, and every combination of settings.
"""

import os
import subprocess
import sys

import pytest
from fakes.cuda.control import GIB
from fakes.hosting import NEEDS_TWO_RANKS, QUICK, HostUnderTest
from fakes.nvml.control import OTHER_UUID

from gpubench.core.findings import Validity, validity
from gpubench.core.records import Status
from gpubench.protocol.host_modules import COMPILER, TORCHVISION
from gpubench.store.run_reader import load_run
from gpubench.suite.cases.expand import expand
from gpubench.suite.load import load_suite

pytestmark = pytest.mark.slow

NO_VALUES = {"GB302", "GB303", "GB305"}
"""What a kernel that computes nothing leads to."""


@pytest.fixture(scope="module")
def host(fake_cuda, tmp_path_factory):
    """With a card of 140 GiB."""
    environ = fake_cuda(FAKE_GPU_BYTES=140 * GIB)
    host = HostUnderTest(tmp_path_factory.mktemp("host"), (*COMPILER, *TORCHVISION), **environ)
    yield host
    host.close()


def _result(host, workload, **settings):
    messages, exited = host.run(workload, device="cuda", **{"measure": QUICK, **settings})
    assert exited.exit_code == 0
    assert messages[-1].type == "result", messages[-1]
    return messages[-1]


@pytest.mark.parametrize(
    ("workload", "settings"),
    [
        ("cnn", {"precision": "fp16", "mode": "infer"}),
        ("cnn", {"precision": "fp32", "mode": "infer", "cuda_graph": True}),
    ],
    ids=["a forward whose outputs are cut up", "a graph"],
)
def test_the_largest_batch_that_a_search_finds_is_measured(host, workload, settings):
    found = _result(host, workload, batch_size="max", **settings)
    facts = found.effective.extra["largest_batch"]
    assert found.effective.batch_size == facts["batch"] > 1000
    assert facts["next_fails_with"].startswith("out of memory")
    assert found.metrics["peak_memory_allocated_bytes"] > 60 * GIB


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_graphs_peak_memory_is_that_of_the_eager_step(host, mode):
    eager, graph = (
        _result(host, "cnn", mode=mode, batch_size=4096, cuda_graph=graph).metrics["peak_memory_allocated_bytes"]
        for graph in (False, True)
    )
    assert graph == pytest.approx(eager, rel=0.15)


def test_an_oom_is_a_row_with_its_sizes_and_the_next_case_is_clean(host):
    failed = host.run("torchvision:resnet18", device="cuda", batch_size=2**20, measure=QUICK)[0][-1]
    assert (failed.type, failed.status) == ("failed", "oom")
    assert failed.failure.requested_bytes > GIB
    assert failed.failure.total_bytes == 140 * GIB
    assert _result(host, "cnn").metrics["allocator_retries"] == 0


@pytest.mark.parametrize("suite", ["roofline", "dataloading", "inference", "resnet50"])
def test_the_last_case_of_a_shipped_suite_is_measured_whole(host, suite):
    """Without TF32, which is seen in values, and without a compiler, which takes its time."""
    cases = [case for case in expand(load_suite(suite).suite).cases if (case.device, case.compile) == ("cuda", "off")]
    case = [case for case in cases if case.precision != "tf32"][-1]
    settings = case.model_dump(exclude={"workload", "device"}) | {"num_workers": min(1, case.num_workers)}
    found = _result(host, case.workload, **settings)
    assert found.metrics["latency_s" if case.timing == "latency" else "step_time_s"] > 0
    assert {each.code for each in found.findings if each.code.startswith("GB3")} <= NO_VALUES


def test_a_run_follows_the_card_it_names_and_calls_no_figure_without_values_valid(fake_cuda, tmp_path):
    text = (
        "schema: 1\nname: second\nrequires: cuda\ndefaults: {workload: cnn, device: 'cuda:1', data: digits}\n"
        "matrix: {cuda_graph: [false, true]}\n"
        "measure: {min_time: 800ms, max_time: 1s, min_window: 800ms, repeats: 1, target_rel_ci: 0.5}\n"
    )
    (tmp_path / "second.yaml").write_text(text)
    suite, out = str(tmp_path / "second.yaml"), str(tmp_path / "run")
    command = [sys.executable, "-m", "gpubench", "run", suite, "--out", out, "--no-report"]
    log = tmp_path / "log"
    environ = os.environ | fake_cuda(FAKE_GPUS=2, FAKE_CUDA_LOG=log)
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environ, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    records = load_run(tmp_path / "run").records
    assert [record.status for record in records] == [Status.OK, Status.OK]
    for record in records:
        assert validity(record.findings) is Validity.INVALID
        assert {"GB303", "GB305"} <= {each.code for each in record.findings}
        assert record.effective.device_uuid == record.telemetry["device"]["uuid"] == f"GPU-{OTHER_UUID}"
        assert record.metrics["mean_power_w"] == pytest.approx(300, rel=0.15)  # the window is short for a counter
    assert not log.exists()  # nothing that CUDA would not allow


@NEEDS_TWO_RANKS
def test_ranks_on_the_cpu_of_a_machine_with_a_gpu_are_measured(host, tmp_path):
    """Torch's launcher asks for GPUs, and no process could be forked from one that has initialised CUDA."""
    settings = {"device": "cpu", "mode": "infer", "world_size": 2, "shape": "64KiB", "cpu_threads": 1}
    found = host.run("collectives:all_reduce", measure=QUICK, scratch=str(tmp_path), **settings)[0][-1]
    assert found.type == "result", found
    assert [rank.rank for rank in found.ranks] == [0, 1]


def test_products_that_show_no_precision_are_told_as_that(host):
    failed = host.run("cnn", device="cuda", precision="tf32", measure=QUICK)[0][-1]
    assert (failed.type, [each.code for each in failed.findings]) == ("failed", ["GB301"])
    assert failed.reason.startswith("precision was fp32 with products in neither fp32 nor TF32 (torch says tf32)")


def test_an_error_that_breaks_the_device_is_a_row_that_names_it(fake_cuda, tmp_path):
    host = HostUnderTest(tmp_path, **fake_cuda(FAKE_CUDA_STICKY_AFTER=500))
    messages, exited = host.run("cnn", device="cuda", data="digits", measure=QUICK)
    assert (messages[-1].type, exited.exit_code) == ("failed", 0)
    assert "an illegal memory access was encountered" in messages[-1].reason
    assert "Traceback" in host.log_of(1)
    assert host.run("cnn", device="cpu", data="digits", measure=QUICK)[0][-1].type == "result"
    host.close()
