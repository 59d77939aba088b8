import os
import sys
import time
from types import SimpleNamespace

import pytest

from gpubench.worker.process import device_query
from gpubench.worker.process.device_query import Devices, ask, ask_in_child
from gpubench.worker.process.host import preload

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks")


def _torch(*, available=True, cuda="13.0", answer=None):
    properties = SimpleNamespace(
        name="NVIDIA H200",
        uuid="1b2c",
        major=9,
        minor=0,
        total_memory=2**37,
        multi_processor_count=132,
        pci_domain_id=0,
        pci_bus_id=0x17,
        pci_device_id=0,
    )

    def init():
        raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have one.\nMore.")

    def is_available():
        if answer is not None:
            answer()
        return available

    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda),
        device=lambda kind, index=None: SimpleNamespace(type=kind, index=index),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91500)),
        cuda=SimpleNamespace(
            is_available=is_available,
            init=init,
            device_count=lambda: 1,
            get_device_properties=lambda index: properties,
        ),
    )


FOUND = Devices(
    devices=(
        {
            "index": 0,
            "uuid": "GPU-1b2c",
            "name": "NVIDIA H200",
            "pci": "0000:17:00.0",
            "total_bytes": 2**37,
            "compute_capability": "9.0",
        },
    ),
    cudnn=91500,
)


def test_a_device_is_told_by_every_name_that_telemetry_needs():
    assert ask(_torch()) == FOUND


def test_why_there_is_no_cuda_is_said_in_a_sentence():
    assert ask(_torch(available=False)).unavailable == "Found no NVIDIA driver on your system"
    assert ask(_torch(cuda=None)).unavailable == "this torch was built without CUDA"


@linux
def test_a_child_asks_so_that_the_host_never_touches_cuda():
    asked_here = []
    assert ask_in_child(_torch(answer=lambda: asked_here.append(os.getpid()))) == FOUND
    assert asked_here == []


@linux
def test_a_driver_that_kills_the_child_is_a_reason():
    assert "ended with -9" in ask_in_child(_torch(answer=lambda: os.kill(os.getpid(), 9))).unavailable


@linux
def test_a_driver_that_hangs_is_a_reason():
    found = ask_in_child(_torch(answer=lambda: time.sleep(60)), timeout_s=0.2)
    assert "did not answer" in found.unavailable


@pytest.mark.parametrize("set_before", [None, "0"])
def test_importing_never_asks_cuda_itself_and_leaves_the_environment_alone(monkeypatch, set_before):
    seen = []
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    if set_before is not None:
        monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", set_before)
    monkeypatch.setattr(
        "importlib.import_module", lambda name: seen.append(os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"])
    )
    preload(["torch"])
    assert seen == [set_before or "1"]
    assert os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK") == set_before


def test_the_same_facts_come_back_from_a_program():
    assert device_query._decode(device_query._encode(FOUND), 0, 1.0) == FOUND
