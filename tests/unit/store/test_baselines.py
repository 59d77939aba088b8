import json

import pytest

from gpubench.core.errors import StoreError, UsageError
from gpubench.core.records import Status
from gpubench.store.baselines import (
    Accepted,
    Baseline,
    BaselineCase,
    baseline_path,
    machine_name,
    read_baseline,
    rounded,
    write_baseline,
)


def a_baseline(**changes):
    cases = tuple(
        BaselineCase(
            id=f"{number:010x}",
            label=f"case {number}",
            settings={"batch_size": number},
            status=Status.OK,
            metrics={"throughput": (1.0, 2.0)},
        )
        for number in (1, 2)
    )
    fields = {
        "suite": "cnn",
        "suite_digest": "0" * 16,
        "machine": "m",
        "environment": {"gpu0.name": "X", "cpu.flags": ["avx2"]},
        "history": (Accepted(created="2026-11-24T10:00:00Z", run="r", reason="first"),),
        "cases": cases,
    }
    return Baseline(**{**fields, **changes})


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"gpus": [{"name": "NVIDIA H100 80GB HBM3"}]}, "nvidia-h100-80gb-hbm3"),
        ({"gpus": [{"name": "NVIDIA L4"}, {"name": "NVIDIA L4"}]}, "2x-nvidia-l4"),
        ({"gpus": [], "cpu": {"model": "AMD EPYC 7B13 (R)", "num_threads_usable": 8}}, "cpu-amd-epyc-7b13-r-8-threads"),
        ({}, "cpu-unknown"),
        ({"gpus": [{"name": "../../etc/passwd"}]}, "etc-passwd"),
    ],
)
def test_a_machine_is_named_after_what_decides_its_speed(environment, name, tmp_path):
    assert machine_name(environment) == name
    assert baseline_path(tmp_path, environment, "cnn") == tmp_path / name / "cnn.json"


def test_a_baseline_reads_back_as_it_was_written(tmp_path):
    path = tmp_path / "deep" / "cnn.json"
    write_baseline(path, a_baseline())
    assert read_baseline(path) == a_baseline()


def test_each_case_has_a_line_of_its_own(tmp_path):
    path = tmp_path / "cnn.json"
    write_baseline(path, a_baseline())
    lines = path.read_text().splitlines()
    assert json.loads(path.read_text())["schema"] == 1
    assert sum('"label": "case ' in line for line in lines) == 2


def test_a_missing_baseline_says_how_one_is_made(tmp_path):
    with pytest.raises(UsageError, match="there is no baseline") as caught:
        read_baseline(tmp_path / "none.json")
    assert "--update" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a baseline"),
        ("[]", "is not a baseline"),
        ('{"schema": 1}', "is not a baseline: suite: Field required"),
        ('{"schema": 2}', "written by a newer gpubench"),
    ],
)
def test_what_is_no_baseline_is_refused_with_its_reason(tmp_path, content, message):
    path = tmp_path / "cnn.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=message):
        read_baseline(path)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write") as caught:
        write_baseline(tmp_path / "file" / "cnn.json", a_baseline())
    assert caught.value.hint.endswith("Choose another place with --baselines DIR.")


def test_seven_digits_are_kept():
    assert rounded(1234.56789123) == 1234.568
    assert rounded(1e-9 / 3) == 3.333333e-10


def test_a_secret_in_the_reason_is_not_stored(tmp_path):
    accepted = Accepted(created="2026-11-24T10:00:00Z", run="r", reason="token=planted")
    write_baseline(tmp_path / "b.json", a_baseline(history=(accepted,)))
    assert read_baseline(tmp_path / "b.json").history[0].reason == "token=(withheld)"
