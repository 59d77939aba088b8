import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The width of the terminal that started the tests is nobody's business: screens choose theirs.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# A gate asks the same of every change; new examples are for people, who can look at them.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def _no_cuda_device() -> str | None:
    """Why there is no CUDA device here, or None where there is one. Asks the driver's own tool, so that torch is not
    imported; a container may have a device without the tool, and then torch is asked.
    """
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    reason = _no_cuda_device() if gpu_tests else None
    if reason:
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason=reason))
