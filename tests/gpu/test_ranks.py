"""Several real cards: ranks forked from the host, over NCCL."""

import pytest

pytestmark = pytest.mark.gpu


@pytest.fixture
def measured(host, tmp_path):
    """`measured(workload, **settings)`: the result of two ranks."""
    if len(host.hello.devices) < 2:
        pytest.skip("this machine has one CUDA device, and ranks need one each")

    def measure(workload, **settings):
        fixed = {"device": "cuda", "world_size": 2, "parity": True, "scratch": str(tmp_path)}
        messages, exited = host.run(workload, **fixed, **settings)
        assert exited.exit_code == 0
        assert messages[-1].type == "result", messages[-1]
        return messages[-1]

    return measure


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all", "send_recv"])
def test_every_collective_arrives_over_nccl(measured, name):
    found = measured(f"collectives:{name}", mode="infer", shape="16MiB", batch_size=1)
    assert found.parity.passed
    assert found.effective.extra["backend"] == "nccl"
    assert len({rank.device_uuid for rank in found.ranks}) == 2


def test_two_cards_learn_what_one_process_does_and_show_their_own_time(measured):
    found = measured("cnn", mode="train", batch_size=64)
    assert found.metrics["ranks_gradient_rel_error"] < 3e-4
    assert all(0 < rank.own_time_s < 2 * rank.step_time_s for rank in found.ranks)
    assert 0 < found.metrics["communication_share"] <= 1
