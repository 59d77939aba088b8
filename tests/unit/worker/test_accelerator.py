"""Each kind of device behind one protocol, and the measuring loop on one that is not CUDA."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import gpubench.worker
from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure
from gpubench.worker.accelerator import (
    Accelerator,
    CudaAccelerator,
    DeviceMemory,
    RocmAccelerator,
    accelerator_of,
    gpu,
    library_versions,
)
from gpubench.worker.job import RunningJob, Stop
from gpubench.worker.measure_case import measure


def _torch(*, hip=None, cuda="13.0", capability=(9, 0), architecture="gfx942:sramecc+:xnack-", uuid="1b2c", count=2):
    properties = SimpleNamespace(
        name="A card",
        uuid=uuid,
        major=9,
        minor=4,
        total_memory=2**37,
        multi_processor_count=304,
        gcnArchName=architecture,
        L2_cache_size=4 * 2**20,
    )
    calls = []
    cuda_module = SimpleNamespace(
        calls=calls,
        is_available=lambda: count > 0,
        device_count=lambda: count,
        get_device_capability=lambda _device: capability,
        get_device_properties=lambda _device: properties,
        set_device=calls.append,
        mem_get_info=lambda _device: (60, 100),
        set_per_process_memory_fraction=lambda share, index: calls.append((share, index)),
    )
    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda, hip=hip), cuda=cuda_module, device=lambda name: _Device(str(name))
    )


class _Device(str):
    __slots__ = ()

    @property
    def index(self):
        return int(self.partition(":")[2]) if ":" in self else None


class _Allocator:
    """Counts as torch's does: what a captured call gave back is free."""

    def __init__(self):
        self.allocated = self.most = 100
        self.segments = [self._segment((0, 0), 1000, 100), self._segment((0, 0), 500, 0, device=1)]

    def capture(self, pool, *, total, kept, most):
        """A call that takes at most `most` bytes at once of its pool's `total`, and keeps some."""
        self.segments.append(self._segment(pool, total, kept))
        self.most = max(self.most, self.allocated + most)
        self.allocated += kept

    def memory_snapshot(self):
        return self.segments

    def memory_allocated(self, _device):
        return self.allocated

    def max_memory_allocated(self, _device):
        return self.most

    def reset_peak_memory_stats(self, _device):
        self.most = self.allocated

    def memory_stats(self, _device):
        return {"allocated_bytes.all.peak": self.most}

    @staticmethod
    def _segment(pool, total, allocated, device=0):
        return {"segment_pool_id": pool, "total_size": total, "allocated_size": allocated, "device": device}


def test_what_a_graph_uses_at_every_replay_counts_as_allocated():
    allocator = _Allocator()
    memory = DeviceMemory(_Device("cuda"), SimpleNamespace(), allocator)
    with memory.capturing(SimpleNamespace(pool=lambda: (0, 1))):
        allocator.capture((0, 1), total=64, kept=10, most=50)
    assert memory.allocated() == 100 + 50
    memory.reset_peak()
    assert memory.peak() == memory.statistics()["allocated_bytes.all.peak"] == 100 + 50


def test_of_a_graph_that_other_code_captured_all_its_pool_counts():
    allocator = _Allocator()
    memory = DeviceMemory(_Device("cuda:0"), SimpleNamespace(), allocator)
    allocator.capture((0, 7), total=64, kept=10, most=50)
    assert memory.peak() == 100 + 50  # its capture was seen by the allocator
    memory.reset_peak()
    assert memory.peak() == 100 + 64


def test_no_other_file_of_the_worker_names_torch_cuda():
    folder = Path(gpubench.worker.__file__).parent
    naming = {path.name for path in folder.rglob("*.py") if "torch.cuda" in path.read_text()}
    assert naming == {"accelerator.py"}


def test_a_device_is_found_by_its_type():
    assert type(accelerator_of("cpu")) is Accelerator
    assert isinstance(accelerator_of("cuda:1"), CudaAccelerator)
    with pytest.raises(KeyError):
        accelerator_of("abacus")


def test_a_hip_build_calls_its_devices_cuda_too():
    assert type(gpu("cuda", _torch())) is CudaAccelerator
    assert type(gpu("cuda", _torch(hip="6.4", cuda=None))) is RocmAccelerator


@pytest.mark.parametrize(
    "work", [Accelerator.event, lambda cpu: cpu.spin(1), lambda cpu: cpu.capture(int, num_warmups=1)]
)
def test_a_cpu_refuses_what_only_a_device_with_a_queue_has(work):
    with pytest.raises(NotImplementedError, match="a CPU has no"):
        work(accelerator_of("cpu"))


@pytest.mark.parametrize(
    ("torch", "device", "reason"),
    [
        (_torch(cuda=None), "cuda", "built without CUDA"),
        (_torch(count=0), "cuda", "no CUDA device is usable"),
        (_torch(), "cuda:2", "there is no cuda:2: this process sees 2"),
    ],
)
def test_a_device_that_cannot_be_used_says_why(torch, device, reason):
    assert reason in gpu(device, torch).problem()


def test_a_usable_device_has_no_problem():
    assert gpu("cuda:1", _torch()).problem() is None
    assert gpu("cuda:1", _torch(hip="6.4", cuda=None)).problem() is None


@pytest.mark.parametrize(
    ("precision", "capability", "reason"),
    [
        ("tf32", (7, 5), "TF32 needs compute capability 8.0 (Ampere); this device has 7.5"),
        ("amp-bf16", (7, 0), "bf16 needs compute capability 8.0 (Ampere); this device has 7.0"),
        ("tf32", (8, 0), None),
        ("fp8", (8, 0), "fp8 needs compute capability 8.9 (Ada); this device has 8.0"),
        ("fp8", (8, 9), None),
        ("fp16", (7, 0), None),
    ],
)
def test_an_nvidia_device_is_judged_by_its_compute_capability(precision, capability, reason):
    assert gpu("cuda", _torch(capability=capability)).lacks(precision) == reason


@pytest.mark.parametrize(
    ("precision", "architecture", "reason"),
    [
        ("tf32", "gfx90a:sramecc+", "TF32 needs an AMD device of gfx94 or gfx95; this one is gfx90a"),
        ("tf32", "gfx942", None),
        ("bf16", "gfx90a", None),
        ("fp8", "gfx942", "fp8 is measured on NVIDIA devices only: the type of AMD's products differs"),
    ],
)
def test_an_amd_device_is_judged_by_its_architecture(precision, architecture, reason):
    assert gpu("cuda", _torch(hip="6.4", architecture=architecture)).lacks(precision) == reason


def test_an_amd_device_is_named_by_its_architecture_and_serial_number():
    spelled = "38643034-6663-3239-3033-386330316661"  # the codes of "8d04fc29038c01fa"
    name, uuid, extra = gpu("cuda", _torch(hip="6.4", uuid=spelled)).facts()
    assert (name, uuid) == ("A card", "GPU-8d04fc29038c01fa")
    assert extra == {"total_bytes": 2**37, "num_multiprocessors": 304, "pci": None, "architecture": "gfx942"}


def test_a_mig_slice_is_named_as_it_was_chosen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aaaa,MIG-bbbb")  # of which CUDA shows the first
    assert gpu("cuda", _torch(uuid="fa4e0000-0000-4000-8000-000000000001")).facts().uuid == "MIG-aaaa"


def test_an_allocator_is_limited_by_its_share_of_the_device():
    torch = _torch()
    gpu("cuda:1", torch).memory.limit(25)
    assert torch.cuda.calls == [(0.25, 1)]


def test_a_hip_build_names_its_own_libraries():
    assert library_versions(_torch(), 91500) == {"cuda": "13.0", "cudnn": "9.15.0"}
    assert library_versions(_torch(hip="6.4.1", cuda=None), 3004000) == {
        "cuda": None,
        "cudnn": None,
        "hip": "6.4.1",
        "miopen": "3004000",
    }


def _measured(tmp_path, **settings):
    case = Case(workload="fakework:Kernels", **settings).model_copy(update={"device": "fake"})
    measure_for = Measure(min_time=0.2, max_time=2, min_window=0.5)
    job = Job(job=1, case=case, measure=measure_for, log=str(tmp_path / "log"))
    sender = SimpleNamespace(send=lambda _message: None, offer=lambda _message: True)
    return measure(RunningJob(job, sender, Stop()))


@pytest.mark.slow
def test_a_device_that_is_not_cuda_is_measured_by_its_own_clock(fake_device, tmp_path):
    result = _measured(tmp_path)
    assert result.series.clock == "cuda_event"
    assert result.metrics["step_time_s"] == pytest.approx(0.002, rel=0.01)
    assert result.metrics["host_enqueue_s"] == pytest.approx(0.0001)
    assert result.metrics["device_idle_share"] == pytest.approx(0.0, abs=0.01)
    assert result.metrics["peak_memory_allocated_bytes"] == 300
    assert result.metrics["device_memory_used_bytes"] == 40
    assert result.series.bound == "gpu"
    assert (result.effective.device, result.effective.device_name) == ("fake", "Imaginary 1")
    assert fake_device.selected
    assert not [each for each in result.findings if each.code in ("GB201", "GB301")]


@pytest.mark.slow
def test_a_request_to_a_device_that_is_not_cuda_waits_for_its_answer(fake_device, tmp_path):
    result = _measured(tmp_path, timing="latency", mode="infer")
    assert result.metrics["latency_s"] == pytest.approx(0.00205, rel=0.01)
    assert fake_device.num_synchronised > len(result.step_times_s)


def test_a_precision_that_the_device_lacks_is_unsupported(fake_device, tmp_path):
    from gpubench.worker.workloads.base import Unsupported

    with pytest.raises(Unsupported, match="fp32, not in bf16"):
        _measured(tmp_path, precision="bf16")
