"""Ceilings and the largest batch on a real card."""

import pytest
from fakes.hosting import QUICK

from gpubench.suite.model.suite import Measure

pytestmark = pytest.mark.gpu

SIZE = 8192
STEADY = Measure(min_time=2, max_time=10, target_rel_ci=0.005)


def _result(host, workload, **settings):
    messages, exited = host.run(workload, **{"device": "cuda", "measure": STEADY, **settings})
    assert exited.exit_code == 0
    assert messages[-1].type == "result", messages[-1]
    return messages[-1]


def test_the_bf16_product_reaches_what_torchs_own_benchmark_does(host, torch_cuda):
    if torch_cuda.cuda.get_device_capability() < (8, 0):
        pytest.skip("this card has no bf16")
    from torch.utils.benchmark import Timer

    left, right = (torch_cuda.randn(SIZE, SIZE, device="cuda", dtype=torch_cuda.bfloat16) for _ in range(2))
    timer = Timer("a @ b", globals={"a": left, "b": right})
    theirs_s = [timer.blocked_autorange(min_run_time=2).median]
    found = _result(host, "operators:matmul", precision="bf16", mode="infer", shape=str(SIZE), batch_size=1)
    theirs_s.append(timer.blocked_autorange(min_run_time=2).median)  # the card is warmer now, as it was for ours
    ours_s = found.metrics["step_time_s"]
    assert sum(theirs_s) / 2 / ours_s >= 0.95
    assert found.metrics["achieved_flops"] == pytest.approx(2 * SIZE**3 / ours_s, rel=1e-6)


@pytest.mark.parametrize("data_path", ["resident", "pinned", "pageable"])
def test_copies_of_every_kind_are_measured_and_arrive(host, data_path):
    found = _result(
        host, "operators:copy", mode="infer", shape="256MiB", data_path=data_path, batch_size=1, parity=True
    )
    assert found.parity.logits_rel_error == 0.0
    assert found.metrics["bytes_per_sample"] / found.metrics["step_time_s"] > 1e9


def test_a_graph_launches_faster_than_the_host(host):
    settings = {"mode": "infer", "batch_size": 1000}
    eager, graph = (
        _result(host, "operators:launch", cuda_graph=graph, **settings).metrics["throughput"] for graph in (False, True)
    )
    assert graph > eager > 10_000


def test_the_largest_batch_fits_and_the_next_one_does_not(host, torch_cuda):
    """Most of the card is taken first, so that the search is short."""
    free, _ = torch_cuda.cuda.mem_get_info()
    taken = torch_cuda.empty(int(free - 6 * 2**30), dtype=torch_cuda.uint8, device="cuda")
    found = _result(host, "torchvision:resnet18", precision="amp-bf16", batch_size="max", measure=QUICK)
    del taken
    torch_cuda.cuda.empty_cache()
    facts = found.effective.extra["largest_batch"]
    outcomes = {each["batch"]: each["fits"] for each in facts["trials"]}
    assert outcomes[facts["batch"]]
    assert not outcomes[facts["batch"] + 1]
    assert facts["line_deviation"] < 0.3
    assert found.effective.batch_size == facts["batch"] > 8
