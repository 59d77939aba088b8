"""What histories of many runs cost: 1,000 runs of 50 cases into a database, and a site over them. `bench` prints it; the
aim is under two minutes for either on two cores, which a busy machine may miss, so nothing is asserted about time.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from fakes.many_runs import many_runs

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an extra: pip install 'gpubench[db]'")

NUM_RUNS, NUM_CASES = 1000, 50
LIMIT_S = 900


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("histories")
    many_runs(folder / "reports", NUM_RUNS, NUM_CASES)
    return folder


def gpubench(place: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "gpubench", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout


def test_many_runs_are_stored_and_make_a_site(place: Path, benchmark) -> None:
    url = "sqlite:///runs.db"
    stored = gpubench(place, "db", "sync", "--db", url)
    assert stored.startswith(f"{NUM_RUNS} runs stored")
    benchmark.pedantic(lambda: gpubench(place, "site", "site", "--db", url), rounds=1)
    pages = list((place / "site").glob("*.html"))
    benchmark.extra_info.update(pages=len(pages), bytes=sum(page.stat().st_size for page in pages))
    assert len(pages) == NUM_CASES + 3


def test_storing_what_is_known_reads_no_run(place: Path, benchmark) -> None:
    url = "sqlite:///again.db"
    gpubench(place, "db", "sync", "--db", url)
    said = benchmark.pedantic(lambda: gpubench(place, "db", "sync", "--db", url), rounds=1)
    assert f"{NUM_RUNS} runs there already" in said
