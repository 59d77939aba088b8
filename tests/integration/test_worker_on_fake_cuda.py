"""Cases on the fake CUDA: what the worker does on a GPU, wherever no value and no speed is asked for."""

import pytest
from fakes.cuda.control import GIB
from fakes.hosting import QUICK, HostUnderTest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(fake_cuda, tmp_path_factory):
    """With a card of 140 GiB."""
    host = HostUnderTest(tmp_path_factory.mktemp("host"), **fake_cuda(FAKE_GPU_BYTES=140 * GIB))
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
        ("operators:conv2d", {"precision": "bf16", "mode": "train"}),
        ("cnn", {"precision": "fp32", "mode": "infer", "cuda_graph": True}),
    ],
    ids=["a forward whose outputs are cut up", "an operator", "a graph"],
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


def test_an_error_that_breaks_the_device_is_a_row_that_names_it(fake_cuda, tmp_path):
    host = HostUnderTest(tmp_path, **fake_cuda(FAKE_CUDA_STICKY_AFTER=500))
    messages, exited = host.run("cnn", device="cuda", data="digits", measure=QUICK)
    assert (messages[-1].type, exited.exit_code) == ("failed", 0)
    assert "an illegal memory access was encountered" in messages[-1].reason
    assert "Traceback" in host.log_of(1)
    assert host.run("cnn", device="cpu", data="digits", measure=QUICK)[0][-1].type == "result"
    host.close()
