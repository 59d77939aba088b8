import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# Screens choose their width, whatever terminal started the tests; a pytest that a test starts is not one of xdist's workers.
for name in ("COLUMNS", "LINES", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(name, None)

# Tests run beside each other, and threads of torch that wait for each other take the processor from the rest.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control starts background commands with SIGINT ignored, and nohup ignores SIGHUP; every child inherits
# that. Tests send both to what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # a program that is started gets the default again

# Until all tests are imported: collections of garbage would take a fifth of that time.
gc.disable()

# Every run tries the same examples, so that a change is judged by what it changed.
settings.register_profile("gpubench", derandomize=True, deadline=None)
settings.load_profile("gpubench")


def _no_cuda_device() -> str | None:
    """Why there is no CUDA device here, or None where there is one. Asks the driver's own tool, so that torch is not
    imported; a container may have a device without the tool, and then torch is asked.
    """
    if "FAKE_GPUS" in os.environ:  # on the fake CUDA, which has no such tool
        return None
    tool = shutil.which("nvidia-smi")
    if tool is None:
        if not Path("/dev/nvidiactl").exists():
            return "no CUDA device: neither nvidia-smi nor /dev/nvidiactl is there"
        command = [sys.executable, "-c", "import torch; torch.cuda.init()"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return None if done.returncode == 0 else f"no CUDA device: torch said {said[:100]!r}"
    done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0 or "GPU" not in done.stdout:
        return f"no CUDA device: nvidia-smi -L said {(done.stdout or done.stderr).strip()[:100]!r}"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    reason = _no_cuda_device() if gpu_tests else None
    if reason:
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason=reason))
    if hasattr(config, "workerinput"):
        # xdist hands out file after file: the long ones first, so that none is left for last.
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        rooms = ("integration", "browser")
        items.sort(key=lambda item: 0 if item.path.parent.name in rooms else 1 if item.path in slow else 2)


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end; a measured loop, which collects garbage first, need not look through it."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """The same for what tests import or leave: torch's compiler alone makes every later collection take a tenth of a second."""
    loaded = len(sys.modules)
    done = yield
    if len(sys.modules) > loaded + 50 or (nextitem is not None and nextitem.path != item.path):
        gc.collect()
        gc.freeze()
    return done
