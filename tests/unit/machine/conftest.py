from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
from fakes.nvml import control


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return control.build(tmp_path_factory.mktemp("nvml"), soname="libfake-nvml-system.so")


@pytest.fixture
def fake(fake_library: Path) -> Iterator[control.Fake]:
    """The fake, empty, behind the real nvidia-ml-py."""
    fake = control.Fake(fake_library)
    fake.reset()
    control.install(fake, pynvml)
    yield fake
    control.uninstall(pynvml)
    fake.reset()


@pytest.fixture(autouse=True)
def _every_card_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The doctor's cache, empty and away from the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gpubench" / "doctor"
