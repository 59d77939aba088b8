"""The database of runs on a real PostgreSQL server, started for the test (Debian: `apt-get install postgresql`)."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from fakes.gate_runs import STEADY, HandMade

from gpubench.cli.main import main

pytest.importorskip("psycopg", reason="psycopg is an extra: pip install 'gpubench[db]'")

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
AS_OTHER = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
"""PostgreSQL refuses to run as root; its package makes a user."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVERS, reason="PostgreSQL is not installed"),
    pytest.mark.skipif(bool(AS_OTHER) and shutil.which("runuser") is None, reason="root cannot start PostgreSQL here"),
]


@pytest.fixture(scope="module")
def url():
    """Of an empty database. The server listens on a socket in its folder and on no port."""
    binaries = SERVERS[-1].parent
    with tempfile.TemporaryDirectory(prefix="pg-") as place:
        folder = Path(place)
        if AS_OTHER:
            shutil.chown(folder, "postgres")

        def run(program, *arguments):
            command = [*AS_OTHER, str(binaries / program), *map(str, arguments)]
            subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=120)

        data = folder / "data"
        run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        run("pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
        try:
            run("createdb", "-h", folder, "-U", "postgres", "gpubench")
            yield f"postgresql+psycopg://postgres@/gpubench?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")


def test_runs_are_kept_and_read_back(url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        made = HandMade()
        made.measured(1000.0 * STEADY[number], STEADY[:3], device="cuda", batch_size=64)
        made.write(Path("reports"), f"run-{number}", created=f"2026-11-0{1 + number}T10:00:00Z")
    assert main(["db", "sync", "--db", url]) == 0
    assert "3 runs stored in postgresql+psycopg://postgres@/gpubench" in capsys.readouterr().out
    assert main(["db", "sync", "--db", url]) == 0
    assert "0 runs stored" in capsys.readouterr().out
    assert main(["history", "--db", url]) == 0
    assert "1 case over 3 runs" in capsys.readouterr().out
    assert main(["compare", "run-0", "@last", "--db", url]) == 0
    assert "run-2" in capsys.readouterr().out
    assert main(["site", "site", "--db", url]) == 0
    assert len(list(Path("site").glob("*.html"))) == 4
