import errno
import json
import os
from collections import namedtuple
from pathlib import Path

import pytest
from fakes.runs import FakeRun

from gpubench.core.errors import StoreError
from gpubench.core.records import Failure
from gpubench.store.run_info import ArmInfo
from gpubench.store.run_reader import load_run
from gpubench.store.run_writer import RunWriter

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_run_leaves_its_files_and_nothing_else(folder: Path) -> None:
    assert left_in(folder) == ["records.jsonl", "run.json"]


def test_a_run_can_be_read_while_it_is_written(tmp_path: Path, fake: FakeRun) -> None:
    with RunWriter.create(tmp_path / "run", fake.info) as writer:
        writer.append(fake.records[0])
        assert load_run(tmp_path / "run").records == fake.records[:1]


def test_parents_of_the_folder_are_made(tmp_path: Path, fake: FakeRun) -> None:
    RunWriter.create(tmp_path / "a" / "b" / "run", fake.info).close()
    assert load_run(tmp_path / "a" / "b" / "run").info == fake.info


def test_an_empty_folder_will_do(tmp_path: Path, fake: FakeRun) -> None:
    RunWriter.create(tmp_path, fake.info).close()
    assert load_run(tmp_path).info == fake.info


def test_a_folder_that_holds_a_run_is_not_overwritten(folder: Path, fake: FakeRun) -> None:
    with pytest.raises(StoreError, match="already contains a run") as caught:
        RunWriter.create(folder, fake.info)
    assert "--resume" in caught.value.hint
    assert load_run(folder).records == fake.records
    assert left_in(folder) == ["records.jsonl", "run.json"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, fake: FakeRun) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="is not empty"):
        RunWriter.create(tmp_path, fake.info)
    assert left_in(tmp_path) == ["thesis.tex"]


def test_records_without_a_head_are_left_alone(folder: Path, fake: FakeRun) -> None:
    (folder / "run.json").unlink()
    with pytest.raises(StoreError, match="is not empty"):
        RunWriter.create(folder, fake.info)
    assert (folder / "records.jsonl").stat().st_size > 0


def test_what_a_start_that_was_killed_left_is_no_hindrance(tmp_path: Path, fake: FakeRun) -> None:
    for name in (".lock", ".probe", ".run.json.tmp", "records.jsonl"):
        (tmp_path / name).touch()
    RunWriter.create(tmp_path, fake.info).close()
    assert load_run(tmp_path).info == fake.info


@pytest.mark.parametrize("below", ["", "run", "a/b/run"])
def test_a_file_in_place_of_a_folder_is_a_sentence(tmp_path: Path, fake: FakeRun, below: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"is not a folder|not a directory"):
        RunWriter.create(tmp_path / "file" / below, fake.info)


def test_a_place_where_nobody_can_make_a_folder_is_a_sentence(fake: FakeRun) -> None:
    with pytest.raises(StoreError, match="cannot make the folder /proc/gpubench-run: ") as caught:
        RunWriter.create(Path("/proc/gpubench-run"), fake.info)
    assert "--store DIR" in caught.value.hint


def test_a_read_only_file_system_is_a_sentence(tmp_path: Path, fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / "run").mkdir()
    monkeypatch.setattr("gpubench.store.lock.os.open", refused)
    with pytest.raises(StoreError, match=r"cannot lock .*run: read-only file system") as caught:
        RunWriter.create(tmp_path / "run", fake.info)
    assert "read-only" in caught.value.hint


def test_a_disk_with_no_room_is_refused_before_anything_is_measured(
    tmp_path: Path, fake: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubench.store.atomic_files.shutil.disk_usage", lambda _: Usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(StoreError, match=r"has .*1.*MiB left on its disk; a run needs at least .*16"):
        RunWriter.create(tmp_path / "run", fake.info)
    assert left_in(tmp_path) == []


def test_a_quota_is_found_before_anything_is_measured(
    tmp_path: Path, fake: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over_quota(_: int) -> bytes:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("gpubench.store.atomic_files.os.urandom", over_quota)
    with pytest.raises(StoreError, match=r"cannot write to .*: disk quota exceeded"):
        RunWriter.create(tmp_path / "run", fake.info)
    assert left_in(tmp_path) == []


def test_a_head_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, fake: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gpubench.store.atomic_files.os.fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*run\.json: no space left on device"):
        RunWriter.create(tmp_path / "run", fake.info)
    assert left_in(tmp_path) == []


def test_the_head_is_replaced_whole(folder: Path, fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunWriter.resume(folder) as writer:
        writer.update_info(fake.info.model_copy(update={"tag": "base"}))
        assert writer.info.tag == "base"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
            with pytest.raises(StoreError, match="no space"):
                writer.update_info(fake.info.model_copy(update={"tag": "lost"}))
        assert writer.info.tag == "base"
    assert load_run(folder).info.tag == "base"
    assert left_in(folder) == ["records.jsonl", "run.json"]


def test_the_head_can_be_read_by_a_person(folder: Path) -> None:
    text = (folder / "run.json").read_text()
    assert json.loads(text)["schema"] == 1
    assert len(text.splitlines()) > 20


def test_resuming_goes_on_where_the_run_ended(folder: Path, fake: FakeRun) -> None:
    more = fake.records[0].model_copy(update={"repeat": 3})
    with RunWriter.resume(folder) as writer:
        assert writer.info == fake.info
        writer.append(more)
    assert load_run(folder).records == (*fake.records, more)


def test_resuming_cuts_off_a_torn_record_so_that_none_is_glued_to_it(folder: Path, fake: FakeRun) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-25])
    with RunWriter.resume(folder) as writer:
        writer.append(fake.records[-1])
    run = load_run(folder)
    assert (run.records, run.dropped) == (fake.records, ())


@pytest.mark.parametrize("content", [None, b"", b"{}"], ids=["none", "empty", "foreign"])
def test_only_a_run_can_be_resumed(folder: Path, content: bytes | None) -> None:
    (folder / "run.json").unlink()
    if content is not None:
        (folder / "run.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"is not a run|does not describe a run"):
        RunWriter.resume(folder)
    assert ".lock" not in left_in(folder)


def test_a_run_on_a_full_disk_is_not_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.store.atomic_files.shutil.disk_usage", lambda _: Usage(2**30, 2**30, 0))
    with pytest.raises(StoreError, match="left on its disk"):
        RunWriter.resume(folder)
    assert left_in(folder) == ["records.jsonl", "run.json"]


def test_a_folder_has_one_writer_even_in_one_process(tmp_path: Path, fake: FakeRun) -> None:
    with RunWriter.create(tmp_path / "run", fake.info):
        for again in (
            lambda: RunWriter.create(tmp_path / "run", fake.info),
            lambda: RunWriter.resume(tmp_path / "run"),
        ):
            with pytest.raises(StoreError, match=f"is in use by process {os.getpid()}"):
                again()
    RunWriter.resume(tmp_path / "run").close()


def test_every_case_has_a_folder_and_every_launch_a_log(tmp_path: Path, fake: FakeRun) -> None:
    with RunWriter.create(tmp_path / "run", fake.info) as writer:
        paths = [writer.log_path(12, 1), writer.log_path(12, 2, "base"), writer.log_path(13, 1, "../a b")]
        assert [writer.relative(path) for path in paths] == [
            "cases/12/1.log",
            "cases/12/base-2.log",
            "cases/13/___a_b-1.log",
        ]
        assert all(path.parent.is_dir() for path in paths)
        assert writer.case_folder(12) == tmp_path / "run" / "cases" / "12"


def test_a_file_in_place_of_a_cases_folder_is_a_sentence(folder: Path) -> None:
    (folder / "cases").write_text("x")
    with RunWriter.resume(folder) as writer, pytest.raises(StoreError, match=r"cannot make .*cases/1: "):
        writer.case_folder(1)


def test_closing_again_is_harmless(tmp_path: Path, fake: FakeRun) -> None:
    writer = RunWriter.create(tmp_path / "run", fake.info)
    writer.close()
    writer.close()


def test_no_secret_is_stored(tmp_path: Path, fake: FakeRun) -> None:
    case = fake.info.cases[0]
    changes = {
        "argv": ("gpubench", "run", "--arm", "head=env.MY_TOKEN=planted"),
        "arms": (ArmInfo(name="base"), ArmInfo(name="head", given={"env.MY_TOKEN": "planted"})),
        "suite": {**fake.info.suite, "defaults": {"env": {"API_KEY": "planted"}}},
        "cases": (case.model_copy(update={"settings": {**case.settings, "env": {"API_KEY": "planted"}}}),),
    }
    failure = Failure(phase="build", error="ConnectionError", message="cannot reach redis://me:planted@host:1")
    with RunWriter.create(tmp_path / "run", fake.info.model_copy(update=changes)) as writer:
        announced = writer.append(fake.records[0].model_copy(update={"failure": failure}))
    assert "planted" not in repr(announced)
    stored = "".join(path.read_text() for path in (tmp_path / "run").iterdir())
    assert stored.count("(withheld)") == 5
    assert "planted" not in stored
