import pytest
import torch

from gpubench.suite.model.case import Case
from gpubench.worker.checks.work_counts import ByteCounter, Count, count_bytes
from gpubench.worker.workloads.registry import resolve


def counted(name, **given):
    return count_bytes(resolve(name), Case(workload=name, **given))


def bytes_of(call):
    with ByteCounter() as counter:
        call()
    return counter.num_bytes, counter.num_operators


def test_an_operator_reads_its_inputs_and_writes_its_output():
    first, second = torch.ones(100), torch.ones(100)
    assert bytes_of(lambda: first + second) == (3 * 400, 1)
    assert bytes_of(lambda: first.add_(second)) == (3 * 400, 1)


def test_views_and_bare_allocations_move_nothing():
    tensor = torch.ones(10, 10)
    assert bytes_of(lambda: tensor.t()[2:]) == (0, 0)
    assert bytes_of(lambda: tensor.view(100).unsqueeze(0)) == (0, 0)
    assert bytes_of(lambda: torch.empty(1000)) == (0, 0)


def test_what_is_expanded_is_read_once():
    row = torch.ones(1, 100).expand(50, 100)
    assert bytes_of(lambda: torch.neg(row))[0] == 400 + 50 * 400


def test_reads_and_writes_are_told_apart():
    first, second, target = torch.ones(100), torch.ones(100), torch.ones(100)
    with ByteCounter() as counter:
        torch.add(first, second)
        target.copy_(first)
        target.zero_()
    assert (counter.num_read, counter.num_bytes - counter.num_read) == (3 * 400, 3 * 400)


def test_a_look_up_reads_the_rows_that_it_gives():
    table, rows = torch.ones(1000, 10), torch.tensor([3, 4])
    assert bytes_of(lambda: torch.nn.functional.embedding(rows, table))[0] == 2 * (2 * 10 * 4) + 2 * 8


def test_only_what_no_cache_can_hold_streams():
    large, small = torch.ones(1000), torch.ones(100)
    with ByteCounter(cache_bytes=1000) as counter:
        large.neg()
        small.neg()
    assert counter.num_streamed == 2 * (4000 - 1000)


def test_a_model_counts_its_reads_and_streams_nothing_that_fits_the_cache(monkeypatch):
    counts = []
    for cache_bytes in (0, 2**40):
        monkeypatch.setattr("gpubench.worker.checks.work_counts.last_cache_bytes", lambda _, size=cache_bytes: size)
        counts.append(counted("cnn", mode="infer", batch_size=64))
    assert counts[0].streamed == pytest.approx(counts[0].per_sample)
    assert counts[1].streamed == 0
    assert 0.4 < counts[0].read_share < 0.6


def test_the_reference_cnn_moves_what_arithmetic_says():
    images, hidden1, pooled1 = 3 * 28 * 28, 16 * 28 * 28, 16 * 14 * 14
    hidden2, pooled2 = 32 * 14 * 14, 32 * 7 * 7
    per_sample = (images + hidden1) + 2 * hidden1 + (hidden1 + pooled1)  # conv, relu, pool (its indices below)
    per_sample += (pooled1 + hidden2) + 2 * hidden2 + (hidden2 + pooled2)
    per_sample += pooled2 + 10  # linear
    indices = 8 * (pooled1 + pooled2)
    small = 16 * (10 + 10 + 2)  # the loss
    found = counted("cnn", mode="infer", batch_size=4096)
    assert found.per_sample == pytest.approx(4 * per_sample + indices, abs=small + 50)
    assert found.operators == 9


def test_half_precision_moves_half_and_training_more_than_twice_the_forward():
    fp32, amp, infer = (
        counted("torchvision:resnet18", batch_size=64, image_size=64, **given)
        for given in ({}, {"precision": "amp-bf16"}, {"mode": "infer"})
    )
    assert amp.per_sample == pytest.approx(fp32.per_sample / 2, rel=0.02)
    assert 2 < fp32.per_sample / infer.per_sample < 3.5


@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp-fp16"])
def test_a_layer_that_takes_its_size_from_the_input_is_counted_in_every_precision(precision):
    assert counted("vision:embedding", batch_size=4, image_size=None, precision=precision).per_sample > 0


def test_weights_are_shared_by_the_batch():
    small, large = (counted("torchvision:resnet18", batch_size=batch, image_size=32).per_sample for batch in (2, 256))
    assert small > 2 * large


class Own:
    def build(self, case, device):
        return lambda: None


class Told(Own):
    def bytes_per_sample(self, case):
        return 5.0 * case.batch


def test_a_workload_of_your_own_says_it_itself_or_is_not_counted():
    assert count_bytes(Told(), Case(batch_size=3)).per_sample == 15.0
    assert count_bytes(Own(), Case()) == Count(None, "the workload has no `bytes_per_sample` method")
