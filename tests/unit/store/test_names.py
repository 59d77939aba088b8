import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.runs import cpu_run

from gpubench.core.errors import StoreError, UsageError
from gpubench.store.run_names import list_runs, new_run_name, resolve_run, split_case
from gpubench.store.run_writer import RunWriter


def add(store: Path, name: str, created: str, tag: str | None = None) -> Path:
    info = cpu_run(run=name, created=created, tag=tag).info
    RunWriter.create(store / name, info).close()
    return store / name


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three runs, the second started last, and things that are no runs."""
    store = tmp_path / "reports"
    add(store, "20261123-1602-cnn-7f3a", "2026-11-23T16:02:11Z", tag="base")
    add(store, "20261125-0900-cnn-00ff", "2026-11-25T09:00:00Z")
    add(store, "20261124-0900-resnet50-beef", "2026-11-24T10:00:00+02:00", tag="release/1.0")
    (store / "20261126-notes").mkdir()
    (store / "README.md").write_text("An index.")
    return store


def names(folders: list[Path]) -> list[str]:
    return [folder.name for folder in folders]


def test_runs_are_listed_newest_first_and_only_run_folders(store: Path) -> None:
    assert names(list_runs(store)) == [
        "20261125-0900-cnn-00ff",
        "20261124-0900-resnet50-beef",
        "20261123-1602-cnn-7f3a",
    ]


def test_the_age_of_a_run_is_when_it_started_not_its_name_or_its_files(store: Path) -> None:
    add(store, "zz-old", "2020-01-01T00:00:00Z")
    assert names(list_runs(store))[-1] == "zz-old"


def test_runs_of_one_minute_keep_their_order(tmp_path: Path) -> None:
    add(tmp_path, "20261123-1602-cnn-ffff", "2026-11-23T16:02:01.5Z")
    add(tmp_path, "20261123-1602-cnn-0000", "2026-11-23T16:02:01.75Z")
    assert names(list_runs(tmp_path))[0] == "20261123-1602-cnn-0000"


def test_runs_of_one_second_are_ordered_by_when_they_were_written(tmp_path: Path) -> None:
    for name, written_s in (("b", 100), ("a", 200)):
        os.utime(add(tmp_path, name, "2026-11-23T16:02:01Z") / "run.json", (written_s, written_s))
    assert names(list_runs(tmp_path)) == ["a", "b"]


def test_a_damaged_run_is_listed_by_the_age_of_its_file(store: Path) -> None:
    head = store / "20261123-1602-cnn-7f3a" / "run.json"
    head.write_bytes(b"")
    os.utime(head, (1, 1))
    assert names(list_runs(store))[-1] == "20261123-1602-cnn-7f3a"


def test_a_store_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is not a folder"):
        list_runs(tmp_path / "file")


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("@last", "20261125-0900-cnn-00ff"),
        ("@last~0", "20261125-0900-cnn-00ff"),
        ("@last~2", "20261123-1602-cnn-7f3a"),
        ("20261123-1602-cnn-7f3a", "20261123-1602-cnn-7f3a"),
        ("20261124", "20261124-0900-resnet50-beef"),
        ("base", "20261123-1602-cnn-7f3a"),
        ("release/1.0", "20261124-0900-resnet50-beef"),
    ],
)
def test_a_run_has_many_names(store: Path, reference: str, found: str) -> None:
    assert resolve_run(reference, store).name == found


def test_a_path_works_everywhere(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store / "20261123-1602-cnn-7f3a"
    assert resolve_run(folder, tmp_path / "other") == folder
    assert resolve_run(f"{folder}/", tmp_path / "other") == folder
    assert resolve_run(folder / "run.json", tmp_path / "other") == folder
    monkeypatch.chdir(folder)
    assert resolve_run(".", tmp_path / "other").samefile(folder)


def test_a_folder_of_the_working_directory_that_is_no_run_hides_no_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_run("base", store).name == "20261123-1602-cnn-7f3a"


def test_a_tag_counts_before_the_beginning_of_a_name(store: Path) -> None:
    add(store, "base-of-all", "2026-11-01T00:00:00Z")
    assert resolve_run("base", store).name == "20261123-1602-cnn-7f3a"


def test_a_whole_name_counts_although_others_begin_with_it(store: Path) -> None:
    add(store, "nightly", "2026-11-01T00:00:00Z")
    add(store, "nightly-2", "2026-11-02T00:00:00Z")
    assert resolve_run("nightly", store).name == "nightly"


def test_the_candidates_of_an_unclear_name_are_shown(store: Path) -> None:
    with pytest.raises(UsageError, match="matches 3 runs") as caught:
        resolve_run("202611", store)
    assert "  20261123-1602-cnn-7f3a (tag base)" in str(caught.value)
    assert "20261125-0900-cnn-00ff" in str(caught.value)


def test_a_tag_given_twice_is_unclear(store: Path) -> None:
    add(store, "20261126-1602-cnn-1111", "2026-11-26T16:02:11Z", tag="base")
    with pytest.raises(UsageError, match="'base' matches 2 runs"):
        resolve_run("base", store)


def test_many_candidates_are_counted_instead_of_listed(tmp_path: Path) -> None:
    for number in range(9):
        add(tmp_path, f"run-{number}", f"2026-11-0{number + 1}T00:00:00Z")
    with pytest.raises(UsageError, match=r"matches 9 runs[\s\S]*\.\.\. and 3 more"):
        resolve_run("run", tmp_path)


def test_a_slip_gets_a_suggestion(store: Path) -> None:
    with pytest.raises(UsageError, match="is called '20261123-1602-cnn-7f3b'") as caught:
        resolve_run("20261123-1602-cnn-7f3b", store)
    assert caught.value.hint == "Did you mean '20261123-1602-cnn-7f3a'?"


@pytest.mark.parametrize("reference", ["nothing-like-it", "", "./no/such/path", "\0", "x" * 5000])
def test_what_names_no_run_is_told_the_newest(store: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="no run in") as caught:
        resolve_run(reference, store)
    assert "The newest: 20261125-0900-cnn-00ff" in caught.value.hint


@pytest.mark.parametrize("reference", ["@last", "@last~3", "base"])
def test_an_empty_store_says_how_to_fill_it(tmp_path: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="contains no runs") as caught:
        resolve_run(reference, tmp_path)
    assert "gpubench run cnn-smoke" in caught.value.hint


def test_going_back_too_far_says_how_far_there_is(store: Path) -> None:
    with pytest.raises(UsageError, match=r"@last~7 goes too far back: .* contains 3 runs") as caught:
        resolve_run("@last~7", store)
    assert caught.value.hint == "@last~2 is the oldest."


@pytest.mark.parametrize("reference", ["@first", "@last~", "@last~x", "@last~-1", "@", "@last ~1"])
def test_a_misspelt_reference_says_what_there_is(store: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="does not name a run") as caught:
        resolve_run(reference, store)
    assert "@last~2" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("@last", ("@last", None)),
        ("@last:12", ("@last", "12")),
        ("@last~1:cpu fp32 b64", ("@last~1", "cpu fp32 b64")),
        ("base:torchvision:resnet18 b64", ("base", "torchvision:resnet18 b64")),
        ("reports/x/", ("reports/x/", None)),
    ],
)
def test_a_case_stands_behind_a_colon(text: str, parts: tuple[str, str | None]) -> None:
    assert split_case(text) == parts


def test_a_colon_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    odd = add(tmp_path / "a:b", "run:1", "2026-11-01T00:00:00Z")
    assert split_case(str(odd)) == (str(odd), None)
    assert split_case(f"{odd}:12") == (str(odd), "12")
    assert split_case(f"{odd}:torchvision:resnet18") == (str(odd), "torchvision:resnet18")


@pytest.mark.parametrize(("text", "what"), [("@last:", "case"), (":12", "run"), (":", "run")])
def test_nothing_beside_the_colon_is_wrong_use(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=f"does not name a {what}") as caught:
        split_case(text)
    assert "@last:12" in caught.value.hint


def test_a_new_name_says_when_and_what() -> None:
    name = new_run_name("cnn", datetime(2026, 11, 23, 16, 2, 59, tzinfo=UTC))
    assert re.fullmatch(r"20261123-1602-cnn-[0-9a-f]{4}", name)


def test_a_new_name_is_free_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter(["7f3a", "7f3a", "00ff"])
    monkeypatch.setattr("gpubench.store.run_names.secrets.token_hex", lambda _: next(given))
    now = datetime(2026, 11, 23, 16, 2, tzinfo=UTC)
    (tmp_path / new_run_name("cnn", now, tmp_path)).mkdir()
    assert new_run_name("cnn", now, tmp_path) == "20261123-1602-cnn-00ff"
