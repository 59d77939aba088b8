from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
from fakes.nvml import control


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return control.build(tmp_path_factory.mktemp("nvml"), soname="libfake-nvml.so")


@pytest.fixture(scope="session")
def preloadable_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under NVML's own soname, for a subprocess's LD_LIBRARY_PATH."""
    return control.build(tmp_path_factory.mktemp("nvml-soname"))


@pytest.fixture(scope="session")
def old_fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver without event reasons, the second memory call and GPM."""
    return control.build(tmp_path_factory.mktemp("nvml-old"), soname="libfake-old-nvml.so", old_driver=True)


def _installed(library: Path) -> Iterator[control.Fake]:
    fake = control.Fake(library)
    fake.reset()
    control.install(fake, pynvml)
    yield fake
    control.uninstall(pynvml)
    fake.reset()


@pytest.fixture
def fake(fake_library: Path) -> Iterator[control.Fake]:
    """The fake, empty, behind the real nvidia-ml-py."""
    yield from _installed(fake_library)


@pytest.fixture
def old_fake(old_fake_library: Path) -> Iterator[control.Fake]:
    yield from _installed(old_fake_library)
