import fcntl
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpubench.protocol import start_module

PACKAGE = Path(start_module.__file__).parents[1]


def test_a_module_is_started_without_the_working_folder_on_its_path(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong one')\n")
    command = start_module.command("random")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_an_interpreter_finds_this_package_and_nothing_beside_it():
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    added = start_module.environment("/other/python", elsewhere)
    (folder,) = added["PYTHONPATH"].split(os.pathsep)
    assert [path.name for path in Path(folder).iterdir()] == ["gpubench"]
    code = "import gpubench; print(gpubench.__file__)"
    done = subprocess.run([sys.executable, "-P", "-c", code], env=elsewhere | added, capture_output=True, check=True)
    assert Path(done.stdout.decode().strip()).resolve() == PACKAGE / "__init__.py"


def test_what_the_python_path_holds_stays_on_it():
    added = start_module.environment("/other/python", {"PYTHONPATH": "/mine"})
    assert added["PYTHONPATH"].endswith(os.pathsep + "/mine")
    assert "PYTHONPATH" not in start_module.environment(None, {"PYTHONPATH": str(PACKAGE.parent)})


def test_a_user_id_without_an_account_gets_a_home_and_a_name(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    added = start_module.environment(None, {})
    assert Path(added["HOME"]).is_dir()
    assert added["LOGNAME"] == f"uid{os.getuid()}"
    assert "HOME" not in start_module.environment(None, {"HOME": "/mine", "LOGNAME": "me"})


@pytest.fixture
def leftover(tmp_path, monkeypatch):
    monkeypatch.setattr(start_module.tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "gpubench-scratch-abc"
    (folder / "compiled").mkdir(parents=True)
    (folder / "compiled" / "kernel.so").write_bytes(b"x")
    os.utime(folder, (time.time() - 3600,) * 2)
    return folder


def test_the_scratch_folder_of_a_killed_process_is_removed(leftover):
    start_module.remove_leftovers()
    assert not leftover.exists()


def test_a_scratch_folder_in_use_or_behind_a_link_stays(leftover, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "gpubench-scratch-link").symlink_to(kept, target_is_directory=True)
    lock = os.open(leftover, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    start_module.remove_leftovers()
    os.close(lock)
    assert leftover.exists()
    assert kept.exists()
