import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.protocol.loaded_files import (
    MOST_DATA_FILES,
    OpenedFiles,
    file_digest,
    imported_names,
    joint_digest,
    loaded_files,
)
from gpubench.worker.workloads.registry import resolve

GOOD = "import helper_of_mine\nclass Mine:\n    def build(self, case, device):\n        return lambda: None\n"


def test_files_of_a_workload_are_those_neither_installed_nor_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in (("mine_digested", GOOD), ("helper_of_mine", "X = 1\n"), ("made_on_the_fly", "")):
        (tmp_path / f"{name}.py").write_text(text)
    before = loaded_files()
    resolve("mine_digested:Mine", (str(tmp_path),))
    found = {path: digest for path, digest in loaded_files().items() if path not in before}
    paths = [str(tmp_path / "helper_of_mine.py"), str(tmp_path / "mine_digested.py")]
    assert found == {path: file_digest(tmp_path / path) for path in paths}
    assert loaded_files(scratch=str(tmp_path)).keys().isdisjoint(paths)
    assert not any("site-packages" in path or "/gpubench/" in path for path in found)
    for name in ("mine_digested", "helper_of_mine"):
        del sys.modules[name]


def test_a_module_that_torch_writes_anew_in_each_process_is_none_of_the_workload(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "_remote_module_non_scriptable.py").write_text("")
    monkeypatch.delitem(sys.modules, "_remote_module_non_scriptable", raising=False)
    importlib.import_module("_remote_module_non_scriptable")
    assert not [path for path in loaded_files() if path.startswith(str(tmp_path))]


def test_a_joint_digest_is_the_same_in_another_folder_and_another_for_other_code():
    assert joint_digest({}) is None
    assert joint_digest({"/a/x.py": "1", "/a/y.py": "2"}) == joint_digest({"/b/y.py": "2", "/b/x.py": "1"})
    assert joint_digest({"/a/x.py": "1"}) != joint_digest({"/a/x.py": "2"})


def test_data_is_what_was_read_and_not_written_below_the_folder_while_wanted(tmp_path):
    folder, wanted = tmp_path / "suite", [True]
    folder.mkdir()
    for name in ("read.txt", "written.txt", "later.txt", "../outside.txt"):
        (folder / name).write_text(name)
    opened = OpenedFiles([str(folder)], lambda: wanted[0])
    (folder / "read.txt").read_text()
    (tmp_path / "outside.txt").read_text()
    (folder / "written.txt").read_text()
    (folder / "written.txt").write_text("again")
    wanted[0] = False
    (folder / "later.txt").read_text()
    assert opened.digests() == {str(folder / "read.txt"): file_digest(folder / "read.txt")}
    assert opened.digests(scratch=str(folder)) == {}


@pytest.mark.parametrize(
    "command",
    [
        ["cat", "its data.txt"],
        "cat 'its data.txt' other.txt",
        ["tail", "-n1", b"its data.txt"],
        ["cat", "--", Path("its data.txt")],
    ],
)
def test_data_is_also_what_a_program_is_given_by_name(tmp_path, command):
    for name in ("its data.txt", "other.txt"):
        (tmp_path / name).write_text(name)
    opened = OpenedFiles([str(tmp_path)], lambda: True)
    subprocess.run(command, shell=isinstance(command, str), cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    assert set(opened.digests()) == {str(tmp_path / ("other.txt" if isinstance(command, str) else "its data.txt"))}


def test_a_program_may_be_given_what_cannot_be_a_path(tmp_path):
    opened = OpenedFiles([str(tmp_path)], lambda: True)
    code = "import sys\n" + "pass\n" * 300
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    assert opened.digests() == {}


def test_a_process_that_measures_again_and_again_is_listened_to_once(tmp_path, monkeypatch):
    (tmp_path / "data").touch()
    added = []
    monkeypatch.setattr(sys, "addaudithook", added.append)
    monkeypatch.setattr(OpenedFiles, "listening", None)
    first, last = (OpenedFiles([str(tmp_path)], lambda: True) for _ in range(2))
    for hook in added:
        hook("open", (str(tmp_path / "data"), "r", os.O_RDONLY))
    assert len(added) == 1
    assert (len(first.digests()), len(last.digests())) == (0, 1)


def test_very_many_files_are_a_data_set_and_not_noted(tmp_path):
    opened = OpenedFiles([str(tmp_path)], lambda: True)
    for number in range(MOST_DATA_FILES + 1):
        (tmp_path / f"{number}.bin").touch()
        (tmp_path / f"{number}.bin").read_bytes()
    assert opened.digests() == {}


def test_names_from_elsewhere_are_those_that_a_file_beside_the_suite_could_hide(tmp_path):
    names = imported_names((), beside=("torch",))
    assert {"pytest", "pydantic"} <= set(names)
    assert {"os", "gpubench", "torch", "__main__"}.isdisjoint(names)
    assert "pytest" not in imported_names([sys.modules["pytest"].__file__], ())
