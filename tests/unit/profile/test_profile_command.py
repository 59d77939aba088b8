"""`gpubench profile` as it is typed."""

import json
import shlex
from pathlib import Path

import pytest
from fakes import traces
from fakes.gate_runs import HandMade

from gpubench.cli.main import main
from gpubench.suite.model.case import Case


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")


def test_json_is_the_summary_and_nothing_else(trace: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "read", str(trace), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["tool"], document["steps"], len(document["devices"])) == ("nsys", 2, 1)
    assert document["source"] == str(trace)


def test_the_measured_step_time_may_have_a_unit(trace: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "read", str(trace), "--json", "--measured", "1005us"]) == 0
    assert json.loads(capsys.readouterr().out)["perturbation"]["ratio"] == pytest.approx(1.0)


def test_a_measured_step_time_that_is_none_is_wrong_use(trace: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "read", str(trace), "--measured", "fast"]) == 2
    assert "--measured" in capsys.readouterr().err


def test_a_missing_file_is_wrong_use_with_a_sentence(capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "read", "nothing.sqlite"]) == 2
    assert capsys.readouterr().err == "error: There is no file nothing.sqlite.\n"


def test_a_report_of_nsys_without_an_nsys_names_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "t.nsys-rep").write_text("x")
    monkeypatch.setenv("GPUBENCH_NSYS", "/nowhere/nsys")
    assert main(["profile", "read", str(tmp_path / "t.nsys-rep")]) == 2
    assert "$GPUBENCH_NSYS names /nowhere/nsys" in capsys.readouterr().err


def test_a_report_is_exported_to_a_folder_that_is_gone_afterwards(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    nsys = tmp_path / "nsys"
    nsys.write_text(
        f'#!/bin/sh\nfor each; do case "$each" in --output=*) cp {trace} "${{each#--output=}}";; esac; done\n'
    )
    nsys.chmod(0o755)
    work = tmp_path / "tmp"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    report = tmp_path / "t.nsys-rep"
    report.write_text("x")
    assert main(["profile", "read", str(report), "--json", "--nsys", str(nsys)]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert list(work.iterdir()) == []


def test_a_width_given_by_columns_is_kept_to(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["profile", "read", str(trace)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if str(trace) not in line) <= 70


def test_a_pipe_gets_whole_names(trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["profile", "read", str(trace)]) == 0
    out = capsys.readouterr().out
    assert traces.DGRAD in out
    assert "…" not in out


def test_the_word_case_may_be_left_out_and_common_options_may_come_first(capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "--color", "never", "read", "nothing"]) == 2
    assert "There is no file nothing" in capsys.readouterr().err
    assert main(["profile", "no-such-suite.yaml", "--dry-run"]) == 2


def test_help_shows_both_uses(capsys: pytest.CaptureFixture[str]):
    assert main(["profile", "--help"]) == 0
    out = capsys.readouterr().out
    assert "gpubench profile read FILE" in out
    assert main(["profile", "case", "--help"]) == 0
    assert "--no-keep-trace" in capsys.readouterr().out


SUITE = """
schema: 1
name: mine
defaults: {workload: cnn, device: cpu}
matrix:
  precision: [fp32, amp-bf16]
  batch_size: [8, 16]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["profile", *arguments, "--dry-run"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    return shlex.split(line)


def test_a_dry_run_prints_the_command_line_and_makes_nothing(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = tmp_path / "store"
    command = dry_run(capsys, str(suite), "-k", "precision=fp32 and batch_size=8", "--store", str(store))
    assert command[1:5] == ["-P", "-u", "-m", "gpubench.worker.profiling.profiled_steps"]
    folder = Path(command[5]).parent
    assert folder.parent == store
    assert "-profile-mine-" in folder.name
    assert not store.exists()


def test_overrides_leave_one_case_where_there_were_four(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    command = dry_run(capsys, str(suite), "-s", "precision=fp32", "-s", "batch_size=32", "--out", str(out))
    assert command[-1] == str(out / "job.json")


def test_several_cases_are_named_with_the_way_to_narrow_them_down(suite: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", str(suite), "-k", "precision=fp32"]) == 2
    err = capsys.readouterr().err
    assert "Only one case can be profiled, and 2 match:\n  fp32 b8\n  fp32 b16\n" in err
    assert "Name it (--case ID), or narrow them down: -k" in err
    assert main(["profile", str(suite), "-k", "batch_size=99"]) == 2
    assert "No case of the suite matches 'batch_size=99'." in capsys.readouterr().err


def test_a_case_is_chosen_by_its_label_or_id(suite: Path, capsys: pytest.CaptureFixture[str]):
    case_id = Case(device="cpu", batch_size=16).case_id
    for name in ("fp32 b16", case_id, case_id[:6]):
        assert f"-profile-mine-{case_id}" in dry_run(capsys, str(suite), "--case", name)[5]
    assert main(["profile", str(suite), "--case", "fp32 b17"]) == 2
    assert "the suite has no case 'fp32 b17': did you mean 'fp32 b16'?" in capsys.readouterr().err
    assert main(["profile", str(suite), "--case", case_id, "-k", "precision=fp32"]) == 2
    assert "-k and --case exclude each other" in capsys.readouterr().err


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = HandMade()
    for batch_size in (64, 128):
        made.measured(1000.0, device="cpu", batch_size=batch_size)
    made.write(tmp_path / "store", "20261123-1602-mine-7f3a", tag="before")
    return tmp_path / "store"


@pytest.mark.parametrize("run", ["@last", "before", "20261123", "20261123-1602-mine-7f3a"])
def test_a_case_of_a_stored_run_is_profiled_into_the_runs_folder(run, store: Path, capsys: pytest.CaptureFixture[str]):
    command = dry_run(capsys, f"{run}:2", "--store", str(store))
    assert command[-1] == str(store / "20261123-1602-mine-7f3a" / "cases" / "2" / "profile" / "job.json")


@pytest.mark.parametrize("link", ["cases/2", "cases/2/profile"])
def test_a_link_in_a_run_does_not_lead_a_profile_elsewhere(link, store: Path, capsys: pytest.CaptureFixture[str]):
    place = store / "20261123-1602-mine-7f3a" / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(store)
    assert main(["profile", "before:2", "--store", str(store), "--dry-run"]) == 2
    assert "is outside the run folder" in capsys.readouterr().err


def test_a_run_by_its_path_and_a_case_by_its_label(store: Path, capsys: pytest.CaptureFixture[str]):
    folder = store / "20261123-1602-mine-7f3a"
    assert dry_run(capsys, f"{folder}:cpu 128")[-1] == str(folder / "cases" / "2" / "profile" / "job.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["@last:9"], "has no case '9'"),
        (["@last"], "@last is a run, and only one case can be profiled."),
        (["nothing:1"], "no run in"),
        (["@last:1", "-k", "device=cpu"], "cannot be combined with -s, -k or --case"),
        (["@last:1", "--case", "0123456789"], "cannot be combined with -s, -k or --case"),
        (["@last:1", "--timeout", "0"], "must be more than 0"),
        (["@last:1", "--tool", "ncu"], "ncu reads counters of CUDA kernels, and this case runs on the CPU."),
    ],
)
def test_wrong_use_is_said_in_a_sentence(arguments, message, store: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", *arguments, "--store", str(store), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_what_is_left_out_of_the_environment_is_said_without_its_value(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HF_TOKEN", "hunter2-planted")
    assert main(["profile", str(suite), "-k", "precision=fp32 and batch_size=8", "-n"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# without HF_TOKEN")
    assert "hunter2" not in out


def test_a_variable_let_through_is_said_without_its_value(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HF_TOKEN", "hunter2-planted")
    arguments = ["profile", str(suite), "-k", "precision=fp32 and batch_size=8", "-n"]
    assert main([*arguments, "--pass-env", "HF_TOKEN"]) == 0
    out = capsys.readouterr().out
    assert "# with HF_TOKEN in the environment, as asked\n" in out
    assert "hunter2" not in out
    assert main([*arguments, "--pass-env", "NOT_SET"]) == 2
    assert "there is no such variable" in capsys.readouterr().err
