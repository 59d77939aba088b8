"""A step that allocates and frees large blocks fetches no page once the process keeps what it freed."""

import subprocess
import sys

import pytest

from gpubench.worker.freed_memory import keep_freed_memory

_FAULTS = """
import ctypes, resource
from gpubench.worker.freed_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory() == "kept"
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def step():
    block = libc.malloc(100 << 20)
    libc.memset(block, 1, 100 << 20)
    libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*, keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_the_next_step_uses_the_pages_that_the_last_one_freed() -> None:
    assert _faults(keep=False) > 100
    assert _faults(keep=True) < 100


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, "left to MALLOC_TRIM_THRESHOLD_"),
        ({"MALLOC_TOP_PAD_": "1", "GLIBC_TUNABLES": "x"}, "left to GLIBC_TUNABLES and MALLOC_TOP_PAD_"),
    ],
)
def test_the_environments_own_choice_is_left(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], said: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert keep_freed_memory.__wrapped__() == said
