import pytest
from fakes.nsys import find_nsys


@pytest.fixture(scope="session")
def nsys() -> str:
    """The path of a real nsys; skips with the reason where there is none."""
    path, reason = find_nsys()
    if path is None:
        pytest.skip(reason)
    return path
