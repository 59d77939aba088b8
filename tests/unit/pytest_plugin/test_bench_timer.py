import pytest
from fakes.torch_module import FakeTorch, TorchCuda

from gpubench.worker.timing.pytest_timer import CudaRounds


@pytest.fixture
def torch():
    return FakeTorch(TorchCuda())


def kernel(torch, device_us: int, host_us: int = 1):
    return lambda: torch.cuda.launch(host_ns=host_us * 1000, device_ns=device_us * 1000)


def test_a_round_is_timed_on_the_device_and_not_by_how_long_launching_took(torch):
    run = CudaRounds(torch, "cuda").runner(kernel(torch, 500), (), {})
    assert run(range(4)) == pytest.approx(4 * 500e-6, rel=2e-3)


def test_work_from_before_a_round_is_not_in_it(torch):
    run = CudaRounds(torch, "cuda").runner(kernel(torch, 500), (), {})
    torch.cuda.launch(host_ns=0, device_ns=10**9)
    assert run(range(1)) == pytest.approx(501e-6)


def test_a_host_that_is_slower_than_its_device_is_seen(torch):
    run = CudaRounds(torch, "cuda").runner(kernel(torch, 5, host_us=100), (), {})
    assert run(range(10)) == pytest.approx(10 * 100e-6 + 5e-6)


def test_a_single_call_returns_its_result_too(torch):
    def work(a, *, b):
        torch.cuda.launch(host_ns=0, device_ns=1000)
        return a + b

    assert CudaRounds(torch, "cuda").runner(work, (1,), {"b": 2})(None) == (pytest.approx(1e-6), 3)


def test_with_the_l2_flushed_each_call_follows_a_write_that_is_not_timed(torch):
    rounds = CudaRounds(torch, "cuda", l2_flush=True)
    assert rounds.runner(kernel(torch, 500), (), {})(range(3)) == pytest.approx(3 * 500e-6)
    assert torch.flushes == 3


def test_the_flush_buffer_is_not_held_against_the_test(torch):
    rounds = CudaRounds(torch, "cuda", l2_flush=True)
    rounds.start_peaks()
    torch.cuda.allocate(500)
    assert rounds.peaks()["peak_memory_allocated_bytes"] == 1500


def test_an_unknown_l2_is_flushed_with_a_large_buffer():
    torch = FakeTorch(TorchCuda(l2_bytes=0))
    CudaRounds(torch, "cuda", l2_flush=True)
    assert torch.cuda.allocated_bytes == 1000 + 2 * 128 * 2**20


def test_calls_are_made_on_the_device_that_is_timed_and_counted(torch):
    rounds = CudaRounds(torch, "cuda:1")
    rounds.runner(kernel(torch, 1), (), {})(range(7))
    assert torch.cuda.current == ["cuda:1"]
    assert rounds.num_calls == 7


def test_the_clock_waits_for_the_device(torch):
    before = torch.cuda.num_synchronised
    CudaRounds(torch, "cuda").clock()
    assert torch.cuda.num_synchronised == before + 1


@pytest.mark.gpu
def test_a_real_kernel_takes_as_long_as_the_host_sees():
    import time

    import torch

    a = torch.randn(4096, 4096, device="cuda")
    rounds = CudaRounds(torch, torch.device("cuda"))
    run = rounds.runner(lambda: a @ a, (), {})
    run(range(10))
    started = time.perf_counter()
    timed = run(range(50))
    assert timed == pytest.approx(time.perf_counter() - started, rel=0.05)
