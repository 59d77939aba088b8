"""The fake CUDA keeps the promises that other tests build on: torch runs on it, and what CUDA forbids fails there too."""

import json
import os
import subprocess
import sys

import pytest
from fakes.cuda import control
from fakes.nvml.control import OTHER_UUID, UUID

EXERCISE = """
import ctypes, json, os, sys, torch

def error_of(function):
    try:
        function()
    except RuntimeError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"

def captured(function):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph

def step():
    return torch.nn.functional.conv2d(images @ square, weight).sum()

told = {"available": torch.cuda.is_available()}
told["uuids"] = [str(torch.cuda.get_device_properties(each).uuid) for each in range(torch.cuda.device_count())]
told["copied"] = torch.tensor([1.0, 2.0], device="cuda").tolist()
images = torch.ones(2, 3, 8, 8, device="cuda")
square = torch.ones(8, 8, device="cuda")
weight = torch.ones(4, 3, 3, 3, device="cuda", requires_grad=True)
step().backward()
told["gradient"] = str(weight.grad.device)
first, second = (torch.cuda.Event(enable_timing=True) for _ in range(2))
first.record()
torch.cuda._sleep(30_000_000)
second.record()
told["done_at_once"] = second.query()
torch.cuda.synchronize()
told["slept_ms"] = first.elapsed_time(second)
captured(step).replay()
told["waits_in_capture"] = error_of(lambda: captured(lambda: step().item()))
told["after_it"] = error_of(lambda: captured(step).replay())
free, total = torch.cuda.mem_get_info()
told["total"] = total
told["too_much"] = error_of(lambda: torch.empty(total, dtype=torch.uint8, device="cuda"))
half = torch.empty(total // 2, dtype=torch.uint8, device="cuda")
told["taken"] = (free - torch.cuda.mem_get_info()[0]) / half.nbytes
told["on_the_other"] = torch.cuda.mem_get_info(1)[0] / free
pid = os.fork()
if pid == 0:
    os._exit(ctypes.CDLL(None).cudaGetDeviceCount(ctypes.byref(ctypes.c_int())))
told["in_a_fork"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
json.dump(told, sys.stdout)
"""


def _run(script: str, environ: dict[str, str]) -> str:
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(fake_cuda, tmp_path_factory):
    log = tmp_path_factory.mktemp("fake_cuda") / "log"
    environ = fake_cuda(FAKE_GPUS=2, FAKE_GPU_BYTES=140 * control.GIB, FAKE_CUDA_LOG=log)
    return json.loads(_run(EXERCISE, environ)) | {"log": log.read_text().splitlines()}


def test_torch_sees_the_cards_of_the_fake_nvml(told):
    assert told["available"]
    assert told["uuids"] == [UUID, OTHER_UUID]
    assert told["total"] == 140 * control.GIB


def test_products_convolutions_and_graphs_run_and_copies_arrive(told):
    assert told["copied"] == [1.0, 2.0]
    assert told["gradient"] == "cuda:0"
    assert told["after_it"] is None


def test_the_host_is_ahead_of_the_devices_clock(told):
    assert not told["done_at_once"]
    assert told["slept_ms"] >= 20  # 30 million cycles at 1.5 GHz


def test_a_call_that_waits_in_a_capture_fails_as_in_cuda_and_is_logged(told):
    assert "capture" in told["waits_in_capture"]
    assert told["log"] == ["fake CUDA: cudaStreamSynchronize of a stream that captures"]


def test_memory_is_accounted_on_each_card_and_runs_out(told):
    assert told["too_much"].startswith("OutOfMemoryError: CUDA out of memory.")
    assert told["taken"] == pytest.approx(1.0, rel=0.01)
    assert told["on_the_other"] == pytest.approx(1.0, rel=0.01)


def test_a_fork_of_a_process_that_used_cuda_cannot_use_it(told):
    assert told["in_a_fork"] == 3  # cudaErrorInitializationError


def test_a_broken_context_fails_every_call_from_then_on(fake_cuda):
    script = """
import torch
tensor, errors = torch.ones(2, device="cuda"), []
while len(errors) < 3:
    try:
        tensor.sum() if not errors else torch.cuda.synchronize()
    except Exception as error:
        errors.append(str(error).splitlines()[0])
print(errors)
"""
    said = _run(script, fake_cuda(FAKE_CUDA_STICKY_AFTER=20))
    assert said.count("an illegal memory access was encountered") == 3


def test_cuda_visible_devices_chooses_and_orders_the_cards(fake_cuda):
    script = (
        "import torch; print(*(torch.cuda.get_device_properties(i).uuid for i in range(torch.cuda.device_count())))"
    )
    assert _run(script, fake_cuda(FAKE_GPUS=3, CUDA_VISIBLE_DEVICES="1,0,7,2")).split() == [OTHER_UUID, UUID]
