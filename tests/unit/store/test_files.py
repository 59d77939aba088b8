import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.core.errors import StoreError
from gpubench.store.atomic_files import store_error, tidy_log, write_atomically, write_output


def test_a_file_is_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", b"old")
    write_atomically(tmp_path / "a.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"new")]


@pytest.mark.parametrize("ended_by", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_ends_early_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_by: BaseException
) -> None:
    def ended(_: int) -> None:
        raise ended_by

    write_atomically(tmp_path / "a.json", b"old")
    monkeypatch.setattr("gpubench.store.atomic_files.os.fsync", ended)
    with pytest.raises((StoreError, KeyboardInterrupt)):
        write_atomically(tmp_path / "a.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"old")]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write .*nowhere/a\.json: no such file or directory"):
        write_atomically(tmp_path / "nowhere" / "a.json", b"x")


def test_a_file_system_that_cannot_sync_a_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def of_files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - follows the link of a descriptor
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr("gpubench.store.atomic_files.os.fsync", of_files_only)
    write_atomically(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "can write to"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EIO, "Choose another place"),
    ],
)
def test_the_hint_fits_the_cause(number: int, hint: str) -> None:
    error = store_error("write", Path("reports/x"), OSError(number, os.strerror(number)))
    assert str(error) == f"cannot write reports/x: {os.strerror(number).lower()}"
    assert hint in error.hint


def test_of_a_long_log_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    path.write_bytes(b"begin" + b"x" * 1000 + b"end")
    tidy_log(path, 10)
    assert path.read_bytes() == b"begin\n[998 bytes left out here]\nxxend"
    path.write_bytes(b"short")
    tidy_log(path, 10)
    assert path.read_bytes() == b"short"


def test_a_log_is_kept_without_secrets_and_otherwise_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    path.write_bytes(b"\xff at redis://me:planted@host, password: planted\r\n\x00end")
    tidy_log(path)
    assert path.read_bytes() == b"\xff at redis://me:(withheld)@host, password: (withheld)\r\n\x00end"


def test_what_the_user_names_replaces_a_link_and_makes_folders(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "link").symlink_to("theirs")
    write_output(tmp_path / "link", "ours")
    write_output(tmp_path / "new" / "folder" / "file", "ours")
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "new" / "folder" / "file").read_text() == "ours"


def test_devices_and_pipes_that_the_user_names_stay_and_get_the_text(tmp_path: Path) -> None:
    write_output(Path(os.devnull), "ours")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(StoreError, match="cannot write /dev/full: no space left on device"):
        write_output(Path("/dev/full"), "ours")
    reading, writing = os.pipe()
    write_output(Path(f"/dev/fd/{writing}"), "ours")
    assert os.read(reading, 100) == b"ours"
    with (tmp_path / "output").open("w") as output:
        script = "from pathlib import Path\nfrom gpubench.store.atomic_files import write_output\nprint('before', flush=True)\n"
        script += "write_output(Path('/dev/stdout'), 'ours')"
        subprocess.run([sys.executable, "-c", script], stdout=output, check=True)
    assert (tmp_path / "output").read_text() == "before\nours"
    assert Path("/dev/stdout").is_symlink()
