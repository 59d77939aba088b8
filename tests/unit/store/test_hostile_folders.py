"""Run folders that someone else prepared: nothing outside of them is written, and nothing in them can fill memory."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fakes.runs import FakeRun

from gpubench.cli.screens.listings import runs
from gpubench.core.errors import StoreError
from gpubench.store.run_names import list_runs, resolve_run
from gpubench.store.run_reader import MOST_LINE_BYTES, load_info, load_run
from gpubench.store.run_writer import RunWriter
from gpubench.store.sample_files import read_samples, write_samples

MINE = "my key, and an unfinished last line"


def plant(link: Path, target: Path, *, hard: bool = False) -> None:
    if link.is_dir():
        link.rmdir()
    link.unlink(missing_ok=True)
    (link.hardlink_to if hard else link.symlink_to)(target)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize("hard", [False, True], ids=["symbolic", "hard"])
@pytest.mark.parametrize("name", [".lock", "records.jsonl"])
def test_a_link_in_place_of_a_file_refuses_to_resume(folder: Path, victim: Path, name: str, *, hard: bool) -> None:
    plant(folder / name, victim, hard=hard)
    with pytest.raises(StoreError, match=f"{name} .*link") as caught:
        RunWriter.resume(folder)
    assert caught.value.hint
    assert victim.read_text() == MINE


@pytest.mark.parametrize("hard", [False, True], ids=["symbolic", "hard"])
@pytest.mark.parametrize("name", [".probe", ".run.json.tmp"])
def test_a_link_in_place_of_a_leftover_is_replaced(
    folder: Path, fake: FakeRun, victim: Path, name: str, *, hard: bool
) -> None:
    plant(folder / name, victim, hard=hard)
    with RunWriter.resume(folder) as writer:
        writer.update_info(fake.info)
    assert victim.read_text() == MINE
    assert load_run(folder).info == fake.info


def test_starting_a_run_follows_no_link(tmp_path: Path, fake: FakeRun, victim: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in (".probe", ".run.json.tmp"):
        plant(tmp_path / "run" / name, victim)
    RunWriter.create(tmp_path / "run", fake.info).close()
    assert victim.read_text() == MINE


def test_logs_and_samples_go_through_no_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("cases", "samples"):
        plant(folder / name, tmp_path / "elsewhere")
    with RunWriter.resume(folder) as writer:
        with pytest.raises(StoreError, match="outside the run folder"):
            writer.log_path(1, 1)
        with pytest.raises(StoreError, match="outside the run folder"):
            writer.write_samples("0001-1", {"t": [0.1]})
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
def test_a_head_that_is_no_file_is_one_line_of_the_store(folder: Path, tmp_path: Path, kind: str) -> None:
    store, odd = folder.parent, folder.parent / "odd"
    odd.mkdir()
    if kind == "pipe":
        os.mkfifo(odd / "run.json")
    elif kind == "device":
        (odd / "run.json").symlink_to("/dev/zero")
    else:
        with (odd / "run.json").open("wb") as file:
            file.truncate(2**40)
    assert set(list_runs(store)) == {odd, folder}
    assert resolve_run(folder.name, store) == folder
    with pytest.raises(StoreError, match=r"not a regular file|too large"):
        load_info(odd)


def test_records_that_are_no_file_are_refused(folder: Path) -> None:
    plant(folder / "records.jsonl", Path("/dev/zero"))
    with pytest.raises(StoreError, match="not a regular file"):
        load_run(folder)


@pytest.mark.parametrize("kind", ["folder", "loop", "pipe"])
def test_records_that_cannot_be_read_are_one_line_of_the_list(folder: Path, kind: str) -> None:
    path = folder / "records.jsonl"
    path.unlink()
    {"folder": path.mkdir, "loop": lambda: path.symlink_to(path), "pipe": lambda: os.mkfifo(path)}[kind]()
    (entry,) = runs(folder.parent).entries
    assert entry["ended"].startswith("unreadable: ")


def test_a_line_too_long_is_left_out_and_the_next_is_read(folder: Path, fake: FakeRun) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(b'{"label": "' + b"x" * 2 * MOST_LINE_BYTES + b'"}\n' + path.read_bytes())
    run = load_run(folder)
    assert run.records == fake.records
    assert [notice.partition(" is")[0] for notice in run.dropped] == ["line 1 of records.jsonl"]


def test_a_label_too_long_to_show_is_refused(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"label": "', '"label": "' + "x" * 100_000, 1))
    with pytest.raises(StoreError, match=r"cases\.0\.label"):
        load_info(folder)


def zipped(folder: Path, content: bytes) -> str:
    (folder / "samples").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "samples" / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.npy", content)
    return "samples/a.npz"


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    name = zipped(tmp_path, bytes(200 * 2**20))
    with pytest.raises(StoreError, match="unpacks to 200 MiB"):
        read_samples(tmp_path, name)


def test_an_array_is_as_long_as_its_header_says(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    name = zipped(tmp_path, file.getvalue() + bytes(8))
    with pytest.raises(StoreError, match="as long as its header says"):
        read_samples(tmp_path, name)


def test_a_link_to_samples_elsewhere_is_not_followed(tmp_path: Path) -> None:
    for name in ("run", "other"):
        (tmp_path / name).mkdir()
    write_samples(tmp_path / "other", "a", {"t": [0.1]})
    plant(tmp_path / "run" / "samples", tmp_path / "other" / "samples")
    with pytest.raises(StoreError, match="outside the run folder"):
        read_samples(tmp_path / "run", "samples/a.npz")
