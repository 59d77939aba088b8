"""Who else uses the CPUs, from two looks at a /proc of our own making."""

import os
from pathlib import Path

import pytest

from gpubench.machine import other_programs
from gpubench.machine.other_programs import busy_text, look, others


def proc(root: Path, busy: int, idle: int, processes: dict[int, tuple[str, int, int]]) -> None:
    """`processes`: name, parent and CPU time in ticks, by process id."""
    folder = root / "proc"
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")
    for pid, (name, parent, ticks) in processes.items():
        (folder / str(pid)).mkdir(exist_ok=True)
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {' 0' * 9} {ticks} 0 9999 9999 0 0\n")
        (folder / str(pid) / "comm").write_text(f"{name}\n")


@pytest.fixture
def two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of 1,000 ticks another program took 600, a second 40, and this one with its child 300."""
    monkeypatch.setattr(other_programs, "LEAST_PAUSE_S", 0.0)
    me = os.getpid()
    rest = {1: ("init", 0, 5), me: ("gpubench", 1, 10)}
    proc(tmp_path, 1000, 5000, {**rest, 4242: ("train (a) .py", 1, 100), 4243: ("sshd", 1, 7)})
    return tmp_path


def afterwards(root: Path) -> None:
    me = os.getpid()
    rest = {1: ("init", 0, 5), me: ("gpubench", 1, 110), 5000: ("worker", me, 150), 5001: ("child", 5000, 50)}
    proc(root, 1940, 5060, {**rest, 4242: ("train (a) .py", 1, 700), 4243: ("sshd", 1, 47)})


def test_the_busiest_program_is_named_with_its_share_and_our_own_are_not(two_looks: Path) -> None:
    before = look(two_looks)
    afterwards(two_looks)
    found = others(before, two_looks)
    assert found == {"share": 0.64, "programs": [{"pid": 4242, "name": "train (a) .py", "share": 0.6}]}
    assert busy_text(found) == "other programs took 64% of the CPUs (train (a) .py, pid 4242: 60%)"


def test_names_can_be_left_out(two_looks: Path) -> None:
    before = look(two_looks)
    afterwards(two_looks)
    assert busy_text(others(before, two_looks, named=False)) == "other programs took 64% of the CPUs"


def test_a_quiet_machine_and_one_that_does_not_say_are_not_called_busy(tmp_path: Path) -> None:
    assert others(look(tmp_path), tmp_path) is None
    assert busy_text(None) == ""
    assert busy_text({"share": 0.05, "programs": []}) == ""
    assert busy_text({"share": "text of another version"}) == ""
