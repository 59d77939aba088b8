import os
import shutil
import subprocess

import pytest
from hypothesis import settings

# A gate asks the same of every change; new examples are for people, who can look at them.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def _cuda_device() -> str | None:
    """Why there is no CUDA device here, or None where there is one. Asks the driver's own tool, so that torch is not imported."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "no CUDA device: nvidia-smi is not installed"
    done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0 or "GPU" not in done.stdout:
        return f"no CUDA device: nvidia-smi -L said {(done.stdout or done.stderr).strip()[:100]!r}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    reason = _cuda_device() if gpu_tests else None
    if reason:
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason=reason))
