import contextlib
import sys
import types
import warnings

import pytest
import torch
from fakes.accelerator import FakeAccelerator

from gpubench.suite.model.case import Case
from gpubench.worker import accelerator
from gpubench.worker.workloads.registry import resolve


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    """Settings are the process's own; a test that sets them must not reach the next one."""
    modes = {}
    for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"):
        backend = torch.backends
        for part in name.split("."):
            backend = getattr(backend, part)
        modes[name] = (backend, backend.fp32_precision)
    cudnn = {key: getattr(torch.backends.cudnn, key) for key in ("enabled", "benchmark", "deterministic")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch 2.9 says that this is the older switch
        torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.fp32_precision = "none"
    for backend, mode in modes.values():
        backend.fp32_precision = mode
    for key, value in cudnn.items():
        setattr(torch.backends.cudnn, key, value)
    torch.set_num_threads(threads)


@pytest.fixture
def built():
    """`built(**settings)` -> (workload, step, case) on the CPU (or `device`); closed after the test."""
    opened = []

    def build(**settings):
        case = Case.model_validate({"image_size": 12, "batch_size": 8, **settings})
        workload = resolve(case.workload)
        opened.append(workload)
        return workload, workload.build(case, case.device), case

    yield build
    for workload in opened:
        workload.close()


@pytest.fixture
def fake_device(monkeypatch):
    """The device `fake`, and `fakework:Kernels`, whose step is two kernels of 1 ms on it."""
    device = FakeAccelerator()
    device.use_clock(monkeypatch)

    class Kernels:
        def build(self, case, where):
            assert where == device.device

            def step():
                for _ in range(2):
                    device.launch(host_ns=50_000, device_ns=1_000_000)

            return step

    module = types.ModuleType("fakework")
    module.Kernels = Kernels
    monkeypatch.setitem(sys.modules, "fakework", module)
    monkeypatch.setitem(accelerator.ACCELERATORS, "fake", lambda _name: device)
    return device


class _Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


@pytest.fixture
def captures(monkeypatch):
    """The CPU as a GPU that captures nothing. `options` of the last capture; `replayed` graphs."""
    seen = types.SimpleNamespace(options={}, replayed=[])

    def graph(_graph, **given):
        seen.options.update(given)
        return contextlib.nullcontext()

    monkeypatch.setitem(accelerator.ACCELERATORS, "cpu", accelerator.gpu)
    monkeypatch.setattr(accelerator.DeviceMemory, "capturing", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", type("Graph", (), {"replay": lambda self: seen.replayed.append(self)}))
    return seen
