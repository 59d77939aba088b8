"""What a graphed step is fed with, on a graph that replays by calling the step again; and the real thing where there is
one.
"""

import pytest
import torch

from gpubench.worker.workloads.supervised.batches import Resident
from gpubench.worker.workloads.supervised.steps import WARMUP_STEPS


@pytest.fixture
def graphed(built, captures):
    """`graphed(**settings)` -> (workload, graphed step, eager step, images that each forward saw)."""

    def build(**settings):
        workload, step, _ = built(cuda_graph=True, **settings)
        assert captures.options == {"capture_error_mode": "thread_local"}
        eager, seen = step._eager, []
        workload.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))

        def replay():
            num_steps = eager.num_steps
            eager()
            eager.num_steps = num_steps

        step._replay = replay
        return workload, step, eager, seen

    return build


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_resident_input_is_the_same_batch_in_every_replay(graphed, mode):
    workload, step, _, seen = graphed(mode=mode)
    for _ in range(3):
        step()
    assert all(torch.equal(images, workload.source.batches[0][0]) for images in seen)


def test_other_input_is_the_next_batch_in_every_replay(graphed):
    workload, step, _, seen = graphed(data_path="pageable", accumulate=2)
    for _ in range(2):
        step()
    expected = [workload.source.batches[index][0] for index in (2, 3, 4, 5)]
    assert all(torch.equal(got, wanted) for got, wanted in zip(seen, expected, strict=True))


def test_replays_are_counted_and_warm_up_is_not(graphed):
    workload, step, eager, _ = graphed()
    assert eager.num_steps == 0
    for _ in range(4):
        step()
    health = workload.health()
    assert (health.optimizer_steps, health.parameters_moved, health.finite) == (4, True, True)


def test_an_output_is_judged_where_the_graph_wrote_it_and_not_by_another_forward(graphed):
    workload, step, eager, seen = graphed(mode="infer")
    step()
    assert workload.health().finite is True
    eager.output = torch.full((2, 10), float("nan"))
    assert workload.health().finite is False
    assert len(seen) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("data_path", ["resident", "pinned"])
def test_a_graphed_step_computes_what_the_eager_step_computes(built, mode, data_path):
    settings = {"device": "cuda", "mode": mode, "data_path": data_path, "optimizer": "adam"}
    eager, eager_step, _ = built(**settings)
    batches = [tuple(tensor.cuda() for tensor in batch) for batch in eager.source.batches]
    replayed = [batches[0]] * 3 if data_path == "resident" else batches[1:4]
    eager_step.source = Resident([batches[0]] * WARMUP_STEPS + replayed)
    for _ in range(WARMUP_STEPS):
        eager_step()
    graphed, graphed_step, _ = built(**settings, cuda_graph=True)
    for _ in range(3):
        torch.testing.assert_close(graphed_step(), eager_step(), rtol=1e-3, atol=1e-4)
    health = graphed.health()
    assert health.finite is True
    assert health.parameters_moved is (True if mode == "train" else None)
