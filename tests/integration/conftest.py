from collections.abc import Callable

import pytest
from fakes.cuda import control
from fakes.nsys import find_nsys


@pytest.fixture(scope="session")
def nsys() -> str:
    """The path of a real nsys; skips with the reason where there is none."""
    path, reason = find_nsys()
    if path is None:
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def fake_cuda() -> Callable[..., dict[str, str]]:
    """Makes the environment of a program on the fake CUDA; skips with the reason where that cannot be built."""
    if reason := control.missing():
        pytest.skip(reason)
    return control.environment
