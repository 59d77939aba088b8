import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gpubench.core.errors import StoreError
from gpubench.store.sample_files import read_samples, write_samples


def test_arrays_come_back_under_their_names(tmp_path: Path) -> None:
    where = write_samples(tmp_path, "0039-2", {"step_times_s": [0.1, 0.2], "marks/forward": range(3)})
    assert where == "samples/0039-2.npz"
    back = read_samples(tmp_path, where)
    assert {name: array.tolist() for name, array in back.items()} == {
        "step_times_s": [0.1, 0.2],
        "marks/forward": [0.0, 1.0, 2.0],
    }
    assert {array.dtype for array in back.values()} == {np.dtype("float64")}


def test_any_name_will_do_for_an_array(tmp_path: Path) -> None:
    where = write_samples(tmp_path, "a", {"file": [1.0], "allow_pickle": [2.0]})
    assert sorted(read_samples(tmp_path, where)) == ["allow_pickle", "file"]


def test_what_is_missing_in_a_series_is_nan_and_not_zero(tmp_path: Path) -> None:
    (series,) = read_samples(tmp_path, write_samples(tmp_path, "a", {"power_w": [1.0, None]})).values()
    assert series[0] == 1.0
    assert math.isnan(series[1])


def test_an_empty_series_stays_one(tmp_path: Path) -> None:
    assert read_samples(tmp_path, write_samples(tmp_path, "a", {"none": []}))["none"].shape == (0,)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (tmp_path / write_samples(tmp_path, name, {"t": [0.1, 0.2]}) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_numpy_alone_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / write_samples(tmp_path, "a", {"t": [0.1, 0.2]})
    with np.load(path) as archive:
        assert archive["t"].tolist() == [0.1, 0.2]


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    write_samples(tmp_path, "a", {"t": [0.1]})
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a samples file"):
        write_samples(tmp_path, name, {})


def test_a_file_in_place_of_the_samples_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("x")
    with pytest.raises(StoreError, match=r"cannot make .*samples: file exists"):
        write_samples(tmp_path, "a", {"t": [0.1]})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"samples/gone\.npz is missing"):
        read_samples(tmp_path, "samples/gone.npz")


@pytest.mark.parametrize("relative", ["../secret.npz", "/etc/passwd", "samples/../../secret.npz"])
def test_a_record_cannot_name_a_file_outside_its_run(tmp_path: Path, relative: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    np.savez(tmp_path / "secret.npz", t=np.zeros(1))
    with pytest.raises(StoreError, match="outside the run folder"):
        read_samples(folder, relative)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / write_samples(tmp_path, "a", {"t": [0.1] * 1000})
    whole = path.read_bytes()
    spoiled = {
        "empty": b"",
        "text": b"hello",
        "binary": b"\x80\x04\x95garbage",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:60] + bytes(byte ^ 0xFF for byte in whole[60:100]) + whole[100:],
    }
    for content in spoiled.values():
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"a\.npz is damaged"):
            read_samples(tmp_path, "samples/a.npz")


def test_an_archive_of_something_else_is_damaged_rather_than_run(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    with zipfile.ZipFile(tmp_path / "samples" / "a.npz", "w") as archive:
        archive.writestr("t.npy", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(StoreError, match="is damaged"):
        read_samples(tmp_path, "samples/a.npz")
