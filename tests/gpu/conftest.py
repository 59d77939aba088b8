import pytest
from fakes.hosting import HostUnderTest


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """A real worker host on a machine with a CUDA device."""
    host = HostUnderTest(tmp_path_factory.mktemp("host"))
    if not host.hello.devices:
        host.close()
        pytest.skip(f"torch sees no CUDA device: {host.hello.cuda_unavailable}")
    yield host
    host.close()


@pytest.fixture(scope="session")
def torch_cuda():
    """torch in this process, with CUDA."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return torch
