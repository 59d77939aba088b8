import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpubench.core.errors import StoreError
from gpubench.store.journal import Journal

Write = Callable[[int, memoryview, int], int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal(path)
    yield made
    made.close()


def disk_that_fills_up(after_bytes: int) -> Write:
    """Stands in for `os.pwrite`: takes so many bytes in all, a part of the last write too, then refuses."""
    real, left = os.pwrite, after_bytes

    def write(descriptor: int, content: memoryview, offset: int) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, content[:left], offset)
        left -= written
        return written

    return write


def test_lines_are_stored_in_order(journal: Journal, path: Path) -> None:
    journal.append(b"one")
    journal.append(b"two")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_line_is_synced_before_append_returns(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr("gpubench.store.journal.os.fsync", lambda _: seen.append(path.read_bytes()))
    journal.append(b"one")
    assert seen == [b"one\n"]


def test_a_line_written_in_pieces_is_whole(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr("gpubench.store.journal.os.pwrite", lambda fd, content, at: real(fd, content[:3], at))
    journal.append(b"0123456789")
    assert path.read_bytes() == b"0123456789\n"


@pytest.mark.parametrize("room", [0, 1, 5, 10])
def test_a_disk_that_fills_up_inside_a_line_costs_that_line_only(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    journal.append(b"stored")
    with monkeypatch.context() as patch:
        patch.setattr("gpubench.store.journal.os.pwrite", disk_that_fills_up(room))
        with pytest.raises(StoreError, match=r"cannot write .*records\.jsonl: no space left on device") as caught:
            journal.append(b"0123456789")
    assert "Free some space" in caught.value.hint
    assert path.read_bytes() == b"stored\n"
    journal.append(b"after")
    assert path.read_bytes() == b"stored\nafter\n"


def test_a_sync_that_fails_takes_the_line_back(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal.append(b"stored")
    monkeypatch.setattr("gpubench.store.journal.os.fsync", broken)
    with pytest.raises(StoreError, match="input/output error"):
        journal.append(b"lost")
    assert path.read_bytes() == b"stored\n"


def test_an_interrupt_inside_append_takes_the_line_back(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    journal.append(b"stored")
    with monkeypatch.context() as patch:
        patch.setattr("gpubench.store.journal.os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append(b"lost")
    journal.append(b"after")
    assert path.read_bytes() == b"stored\nafter\n"


def test_a_line_that_could_not_be_taken_back_is_taken_back_by_the_next(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_descriptor: int, _length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal.append(b"stored")
    with monkeypatch.context() as patch:
        patch.setattr("gpubench.store.journal.os.pwrite", disk_that_fills_up(4))
        patch.setattr("gpubench.store.journal.os.ftruncate", refused)
        with pytest.raises(StoreError, match="no space left"):
            journal.append(b"0123456789")
    assert path.read_bytes() == b"stored\n0123"
    journal.append(b"after")
    assert path.read_bytes() == b"stored\nafter\n"


@pytest.mark.parametrize("torn", [b"x", b'{"half": ', b"\x00" * 200_000], ids=["byte", "half", "zeros"])
@pytest.mark.parametrize("before", [b"", b"one\n", b"one\n" + b"2" * 100_000 + b"\n"], ids=["none", "short", "long"])
def test_opening_cuts_off_a_torn_last_line(path: Path, before: bytes, torn: bytes) -> None:
    path.write_bytes(before + torn)
    journal = Journal(path)
    journal.append(b"new")
    journal.close()
    assert path.read_bytes() == before + b"new\n"


def test_opening_whole_lines_changes_nothing(path: Path) -> None:
    path.write_bytes(b"one\ntwo\n")
    Journal(path).close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_folder_in_its_place_is_a_sentence(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match=r"cannot open .*records\.jsonl: is a directory"):
        Journal(path)


def test_after_close_nothing_can_be_stored(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.append(b"late")


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_a_file_that_another_program_changed_is_not_written_on(tmp_path: Path, how: str) -> None:
    path = tmp_path / "records.jsonl"
    journal = Journal(path)
    for line in (b"one", b"two"):
        journal.append(line)
    if how == "cut":
        os.truncate(path, 4)
    else:
        path.unlink()
    with pytest.raises(StoreError, match=f"was {how}.*by another program") as caught:
        journal.append(b"three")
    journal.close()
    assert "--resume" in caught.value.hint
    assert how == "removed" or path.read_bytes() == b"one\n"
