"""`gpubench export`, and the same at the end of `gpubench run`."""

import sys
from pathlib import Path

import pytest
from fakes.gate_runs import HandMade, two_arms

from gpubench.cli import run_ending
from gpubench.cli.exports import checked_sinks
from gpubench.cli.main import main
from gpubench.cli.run_arms import AskedArms
from gpubench.core.records import Status
from gpubench.report.sinks import sink
from gpubench.runner.run import RunOutcome
from gpubench.store.run_reader import load_run


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBENCH_EXPORT", raising=False)


def fails(_run, _where):
    raise ConnectionError("no route to https://me:hunter2secret@host\nand more")


@pytest.fixture
def broken(monkeypatch):
    """A tracker that cannot be reached."""
    monkeypatch.setitem(sink.TRACKERS, "mlflow", sink.SinkSpec("MLflow", fails))


def made(arms=False):
    run = two_arms() if arms else HandMade()
    run.measured(1000.0, head=900.0 if arms else None, batch_size=64)
    return run


def call(capsys, *arguments):
    status = main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, " ".join(printed.err.split())


def end(folder, sinks, *, interrupted=False, as_json=False):
    exports = checked_sinks(sinks)
    ending = run_ending.RunEnding(False, False, as_json, False, AskedArms(), None, exports=exports)
    return ending.after(RunOutcome(folder, load_run(folder).info, interrupted=interrupted), folder.parent)


def test_a_run_goes_to_every_sink_and_each_is_named(capsys):
    made().write(Path("reports"), "one")
    status, out, err = call(capsys, "export", "one", "--to", "new/a.prom", "--to", "a.csv")
    assert (status, out, err) == (0, "new/a.prom\na.csv\n", "")
    assert Path("new/a.prom").read_text().endswith("# EOF\n")
    assert Path("a.csv").read_text().startswith("index,case,")


def test_a_sink_that_fails_is_2_with_its_reason_and_the_others_get_the_run(capsys, broken):
    made().write(Path("reports"), "one")
    status, out, err = call(capsys, "export", "--to", "mlflow", "--to", "a.prom")
    assert (status, out) == (2, "a.prom\n")
    assert err == "error: not exported to mlflow: ConnectionError: no route to https://me:(withheld)@host"


@pytest.mark.parametrize("text", ["run.txt", "prom", "mlfow:sqlite:///x.db", "s3://bucket/run", ""])
def test_another_place_is_refused_with_those_there_are(capsys, text):
    status, _, err = call(capsys, "export", "no-such-run", "--to", text)
    assert status == 2
    assert f"error: {text!r} is no place to export a run to" in err
    assert "ends in one of .prom, .parquet, .csv, or mlflow[:URI] or wandb[:PROJECT]" in err


@pytest.mark.parametrize(
    ("text", "library", "extra"),
    [
        ("a.parquet", "pyarrow", "parquet"),
        ("mlflow:http://host", "mlflow", "mlflow"),
        ("wandb", "wandb", "wandb"),
    ],
)
def test_a_library_that_is_missing_is_named_before_anything_is_measured(capsys, monkeypatch, text, library, extra):
    monkeypatch.setattr(sink, "find_spec", lambda name: None if name == library else object())
    for arguments in (["export", "--to", text], ["run", "no-such-suite", "--export", text]):
        status, _, err = call(capsys, *arguments)
        assert status == 2
        assert f"needs {library}, which is not installed hint: Install it: pip install 'gpubench[{extra}]'" in err


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(capsys):
    Path("a.prom").mkdir()
    status, _, err = call(capsys, "run", "no-such-suite", "--export", "a.prom")
    assert status == 2
    assert "cannot write a.prom: is a directory" in err


def test_a_run_without_sinks_loads_none(capsys):
    folder = made().write(Path("reports"), "one")
    loaded = {name for name in sys.modules if name.split(".")[0] in ("mlflow", "wandb")}
    assert end(folder, ()) == 0
    assert "Sent to" not in capsys.readouterr().out
    assert {name for name in sys.modules if name.split(".")[0] in ("mlflow", "wandb")} == loaded


@pytest.mark.parametrize("arms", [False, True])
def test_a_run_is_sent_when_it_ends(capsys, arms):
    folder = made(arms).write(Path("reports"), "one")
    assert end(folder, ("a.prom", "a.csv")) == 0
    out = capsys.readouterr().out
    assert "Sent to a.prom\n        a.csv\nNext " in out
    assert ('arm="head"' in Path("a.prom").read_text()) == arms


def test_a_long_place_gets_a_line_without_an_empty_one_above(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = f"{'deep/' * 20}b.prom"
    assert end(made().write(Path("reports"), "one"), ("a.prom", long)) == 0
    assert f"Sent to a.prom\n{long}\nNext " in capsys.readouterr().out


def test_json_on_stdout_stays_alone(capsys):
    import json

    assert end(made().write(Path("reports"), "one"), ("a.prom",), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["run"]["name"] == "one"


def test_a_sink_that_fails_loses_nothing_of_a_run_and_is_2(capsys, broken):
    folder = made().write(Path("reports"), "one")
    assert end(folder, ("mlflow:http://host", "a.prom")) == 2
    printed = capsys.readouterr()
    assert "error: not exported to mlflow:http://host: ConnectionError: no route" in printed.err
    assert "1 case: 1 ok" in " ".join(printed.out.split())
    assert "Sent to a.prom" in printed.out
    assert len(load_run(folder).records) == 10


def test_the_status_of_a_run_stands_before_that_of_its_sinks(broken):
    run = HandMade()
    run.ended(run.plan(batch_size=1), Status.FAILED, "segmentation fault")
    assert end(run.write(Path("reports"), "one"), ("mlflow",)) == 3


def test_half_a_run_is_not_sent_but_the_command_is_said(capsys, broken):
    folder = made().write(Path("reports"), "one")
    assert end(folder, ("a b.prom", "mlflow"), interrupted=True) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert "`gpubench export one --to 'a b.prom' --to mlflow` sends it as it is" in said
    assert not Path("a b.prom").exists()


def test_sinks_of_a_machine_come_from_its_environment(capsys, monkeypatch):
    monkeypatch.setenv("GPUBENCH_EXPORT", "a.prom nonsense")
    status, _, err = call(capsys, "run", "no-such-suite")
    assert status == 2
    assert "error: 'nonsense' is no place to export a run to" in err
