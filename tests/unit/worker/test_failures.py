"""Messages as the libraries really write them."""

import gc
import weakref

import pytest

from gpubench.core.errors import UsageError
from gpubench.core.findings import finding
from gpubench.worker.failures import SettingsMismatch, as_failed, is_out_of_memory, write_traceback
from gpubench.worker.workloads.base import Missing, Unsupported, need

GIB, MIB = 2**30, 2**20


class OutOfMemoryError(RuntimeError):
    """Has the name of torch's own, which a CPU build cannot raise."""


CUDA_OOM = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139.81 GiB of which 5.12 GiB is "
    "free. Process 41 has 134.69 GiB memory in use. Of the allocated memory 130.00 GiB is allocated by PyTorch, and "
    "1.20 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)


def test_sizes_of_a_cuda_oom_are_those_the_allocator_named():
    failed = as_failed(OutOfMemoryError(CUDA_OOM), "warmup", peaks={"allocated_bytes": 7, "reserved_bytes": 9}, log="l")
    assert (failed.status, failed.reason) == ("oom", "out of memory in warmup (asked for 20.0 GiB)")
    failure = failed.failure
    assert (failure.requested_bytes, failure.free_bytes) == (20 * GIB, round(5.12 * GIB))
    assert failure.total_bytes == round(139.81 * GIB)
    assert (failure.allocated_bytes, failure.reserved_bytes) == (7, 9)
    assert (failure.phase, failure.error, failure.log) == ("warmup", "OutOfMemoryError", "l")


@pytest.mark.parametrize(
    ("error", "requested"),
    [
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 67108864 bytes. Error code 12 (Cannot allocate memory)"
            ),
            64 * MIB,
        ),
        (
            MemoryError("Unable to allocate 7.50 GiB for an array with shape (1006632960,) and data type float64"),
            round(7.5 * GIB),
        ),
        (MemoryError(), None),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), None),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), None),
        (RuntimeError("CUDA driver error: out of memory"), None),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), None),
    ],
)
def test_memory_shortage_is_known_by_every_name(error, requested):
    failed = as_failed(error, "build")
    assert failed.status == "oom"
    assert failed.failure.requested_bytes == requested
    assert failed.failure.free_bytes is None


def test_an_error_raised_while_memory_was_short_is_a_shortage():
    """As torch's capture of a CUDA graph, and its compiler, raise theirs."""
    error = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    error.__context__ = OutOfMemoryError(CUDA_OOM)
    failed = as_failed(error, "build")
    assert (failed.status, failed.failure.requested_bytes) == ("oom", 20 * GIB)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        ValueError("CUDA out of memory is only a text here"),
    ],
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_an_error_without_words_still_has_a_reason():
    assert as_failed(KeyError(), "build").reason == "KeyError"


def test_the_reason_is_the_first_line_and_the_failure_keeps_all():
    failed = as_failed(RuntimeError("\nfirst\nsecond"), "build")
    assert failed.reason == "RuntimeError: first"
    assert failed.failure.message == "\nfirst\nsecond"


@pytest.mark.parametrize(
    "first",
    [
        "Caught ValueError in DataLoader worker process 0",
        "The following operation failed in the TorchScript interpreter",
    ],
)
def test_the_reason_of_an_error_that_torch_carries_over_is_what_happened_there(first):
    said = (
        f"{first}.\nOriginal Traceback (most recent call last):\n"
        '  File "wl.py", line 12, in __getitem__\n    raise ValueError("bad sample 40")\nValueError: bad sample 40\n'
    )
    failed = as_failed(ValueError(said), "warmup")
    assert failed.reason == f"ValueError: bad sample 40 ({first})"
    assert failed.failure.message == said


def test_an_error_meant_for_people_keeps_its_hint():
    failed = as_failed(UsageError("There is no workload 'cmn'.", hint="Did you mean 'cnn'?"), "build")
    assert failed.reason == "There is no workload 'cmn'. Did you mean 'cnn'?"


def test_what_cannot_run_is_unsupported_without_a_failure():
    failed = as_failed(Unsupported("needs Ampere"), "build")
    assert (failed.status, failed.reason, failed.failure) == ("unsupported", "needs Ampere", None)


def test_a_mismatch_brings_its_findings():
    wrong = finding("GB301", "precision was tf32 before the measured steps; fp32 was asked for.")
    failed = as_failed(SettingsMismatch((wrong,)), "warmup")
    assert (failed.status, failed.findings, failed.reason) == ("failed", (wrong,), wrong.message)


@pytest.mark.parametrize(("error", "is_kept"), [(RuntimeError("CUDA error: ..."), True), (MemoryError(), False)])
def test_what_a_failed_step_held_is_freed_where_memory_was_short_and_else_kept(capfd, error, is_kept):
    """Freeing an event of a device that an error broke would end the process before its row is sent."""
    seen = []

    def step():
        held = type("Event", (), {})()
        seen.append(weakref.ref(held))
        raise error

    try:
        step()
    except (RuntimeError, MemoryError) as caught:
        write_traceback(caught)
    gc.collect()
    assert (seen[0]() is not None) is is_kept
    assert "Traceback" in capfd.readouterr().err


def test_what_can_be_installed_is_skipped_with_the_command(monkeypatch):
    monkeypatch.setattr("gpubench.worker.workloads.base.find_spec", lambda name: None if name == "sacrebleu" else name)
    need("text", "tokenizers")
    with pytest.raises(Missing) as missing:
        need("text", "tokenizers", "sacrebleu")
    failed = as_failed(missing.value, "build")
    assert failed.status == "skipped"
    assert failed.reason == "sacrebleu is not installed: pip install 'gpubench[text]'"
