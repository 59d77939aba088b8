"""Programs behind the prefix cannot read other processes. Skipped if the kernel or the container forbids a way."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.profile.capture import hide_processes as hiding
from gpubench.profile.capture.run_tool import run_tool

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")
READS = "import sys; sys.stdout.buffer.write(open(f'/proc/{sys.argv[1]}/environ', 'rb').read())"


@pytest.fixture
def neighbour():
    """The id of a process with a secret, as the shell above has it."""
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "PLANTED": "hunter2-planted"})
    yield process.pid
    process.kill()
    process.wait()


def read_from(prefix: tuple[str, ...], pid: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*prefix, sys.executable, "-c", READS, str(pid)], capture_output=True, check=False)


def by(way: str, monkeypatch: pytest.MonkeyPatch) -> hiding.Hiding:
    """The prefix of this way; skipped if the kernel or the container forbids it."""
    if way == "landlock":
        monkeypatch.setattr(hiding, "_NAMESPACE", ("false",))
        monkeypatch.setattr(hiding, "_USER_NAMESPACE", ("false",))
    else:
        monkeypatch.setattr(hiding, "_LANDLOCK", ("false",))
    found = hiding.hide_processes(os.environ)
    if found.way is None:
        pytest.skip(f"{way} is not allowed here")
    assert found.way == way
    return found


@pytest.mark.parametrize("way", ["namespace", "landlock"])
def test_the_environment_of_another_process_cannot_be_read(way, neighbour: int, monkeypatch: pytest.MonkeyPatch):
    assert b"hunter2-planted" in read_from((), neighbour).stdout
    hidden = read_from(by(way, monkeypatch).prefix, neighbour)
    assert hidden.returncode != 0
    assert b"hunter2-planted" not in hidden.stdout


@pytest.mark.parametrize("way", ["namespace", "landlock"])
def test_a_hidden_program_still_sees_its_own_children(way, monkeypatch: pytest.MonkeyPatch):
    program = """import subprocess
child = subprocess.Popen(["sleep", "60"], env={"MINE": "seen"})
while b"MINE" not in (content := open(f"/proc/{child.pid}/environ", "rb").read()): pass
child.kill(); child.wait()
print("seen")"""
    done = subprocess.run(
        [*by(way, monkeypatch).prefix, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "seen\n"


@pytest.mark.parametrize("way", ["namespace", "landlock"])
def test_files_can_be_moved_between_folders_all_the_same(way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    program = f"import os; os.rename({str(tmp_path / 'a' / 'file')!r}, {str(tmp_path / 'file')!r})"
    subprocess.run([*by(way, monkeypatch).prefix, sys.executable, "-c", program], check=True, timeout=60)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("way", ["namespace", "landlock"])
def test_the_exit_status_is_that_of_the_program(way, monkeypatch: pytest.MonkeyPatch):
    prefix = by(way, monkeypatch).prefix
    assert subprocess.run([*prefix, "/bin/sh", "-c", "exit 7"], check=False, timeout=60).returncode == 7


def test_a_way_that_starts_but_hides_nothing_is_not_taken(monkeypatch: pytest.MonkeyPatch):
    env = shutil.which("env")
    assert env is not None
    for name in ("_NAMESPACE", "_USER_NAMESPACE", "_LANDLOCK"):
        monkeypatch.setattr(hiding, name, (env,))
    assert hiding.hide_processes(os.environ) == hiding.Hiding(None, ())


def test_a_way_that_is_absent_is_not_taken(monkeypatch: pytest.MonkeyPatch):
    for name in ("_NAMESPACE", "_USER_NAMESPACE", "_LANDLOCK"):
        monkeypatch.setattr(hiding, name, ("/nowhere/program",))
    assert hiding.hide_processes(os.environ).way is None


@pytest.mark.slow
@pytest.mark.parametrize("way", ["namespace", "landlock"])
def test_a_hidden_program_that_takes_too_long_is_ended(way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    program = "import subprocess, sys; subprocess.run(['sleep', '60'], start_new_session=True)"
    command = [*by(way, monkeypatch).prefix, sys.executable, "-c", program]
    ended = run_tool(command, log=tmp_path / "log", environ=os.environ, timeout_s=2, cwd=tmp_path / "here")
    assert ended.timed_out
    here = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # a process of another user, or one that has ended
            here += [link] if str(link.readlink()) == str(tmp_path / "here") else []
    assert here == []
