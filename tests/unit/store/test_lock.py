import errno
import fcntl
import os
from pathlib import Path

import pytest

from gpubench.core.errors import StoreError
from gpubench.store.lock import FolderLock


def test_a_lock_says_who_holds_it_and_goes_with_its_holder(tmp_path: Path) -> None:
    lock = FolderLock.acquire(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_held_cannot_be_taken(tmp_path: Path) -> None:
    lock = FolderLock.acquire(tmp_path)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}") as caught:
        FolderLock.acquire(tmp_path)
    assert "one writer at a time" in caught.value.hint
    lock.release()
    FolderLock.acquire(tmp_path).release()


def test_a_holder_that_has_not_signed_yet_is_another_process(tmp_path: Path) -> None:
    lock = FolderLock.acquire(tmp_path)
    (tmp_path / ".lock").write_text("")
    with pytest.raises(StoreError, match="in use by another process"):
        FolderLock.acquire(tmp_path)
    lock.release()


def test_a_file_whose_name_went_while_it_was_being_locked_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = fcntl.flock, []

    def slow(descriptor: int, how: int) -> None:
        if not tries:
            (tmp_path / ".lock").unlink()
        tries.append(how)
        real(descriptor, how)

    monkeypatch.setattr("gpubench.store.lock.fcntl.flock", slow)
    lock = FolderLock.acquire(tmp_path)
    assert len(tries) == 2
    with pytest.raises(StoreError, match="in use"):
        FolderLock.acquire(tmp_path)
    lock.release()


def test_a_file_system_without_locks_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("gpubench.store.lock.fcntl.flock", refused)
    with pytest.raises(StoreError, match=r"cannot lock .*: no locks available"):
        FolderLock.acquire(tmp_path)


def test_a_lock_that_cannot_be_signed_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("gpubench.store.lock.os.pwrite", full)
        with pytest.raises(StoreError, match="no space left"):
            FolderLock.acquire(tmp_path)
    FolderLock.acquire(tmp_path).release()
