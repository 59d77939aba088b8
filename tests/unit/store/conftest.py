from pathlib import Path

import pytest
from fakes.runs import FakeRun, cpu_run

from gpubench.store.run_writer import RunWriter


@pytest.fixture
def fake() -> FakeRun:
    """Two measured cases with two launches each, and four skipped ones."""
    return cpu_run()


@pytest.fixture
def folder(tmp_path: Path, fake: FakeRun) -> Path:
    """A run folder that holds every record of `fake`."""
    path = tmp_path / "reports" / fake.info.run
    with RunWriter.create(path, fake.info) as writer:
        for record in fake.records:
            writer.append(record)
    return path
