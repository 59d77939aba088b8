import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade, two_arms

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an extra: pip install 'gpubench[db]'")

URL = "sqlite:///reports/gpubench.db"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBENCH_DB", raising=False)


def runs(rates, *, start=0, commit="a", store=Path("reports")):
    for number, rate in enumerate(rates, start=start):
        made = HandMade(environment={**ENVIRONMENT, "git": {"commit": commit * 12, "dirty": False}})
        made.measured(rate * STEADY[number % 10], STEADY[:3], device="cuda", batch_size=64)
        made.write(store, f"run-{number:02d}", created=f"2026-11-{1 + number:02d}T10:00:00Z")


def call(capsys, *arguments):
    status = main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, " ".join(printed.err.split())


def rows(query):
    with closing(sqlite3.connect("reports/gpubench.db")) as connection:
        return connection.execute(query).fetchall()


def test_a_history_from_the_database_is_that_of_the_folders(capsys):
    runs([1000.0] * 6)
    runs([900.0] * 6, start=6, commit="b")
    assert call(capsys, "db", "sync") == (ExitStatus.OK, f"12 runs stored in {URL}\n", "")
    of_folders = json.loads(call(capsys, "history", "--json")[1])
    of_database = json.loads(call(capsys, "history", "--json", "--db", URL)[1])
    for document in (of_folders, of_database):
        for point in document["series"][0]["points"]:
            point["value"] = round(point["value"], 1)
        document["series"][0]["changes"][0]["change"] = round(document["series"][0]["changes"][0]["change"], 6)
    assert of_database == of_folders
    assert len(of_folders["series"][0]["changes"]) == 1
    assert call(capsys, "history", "--db", URL)[1] == call(capsys, "history")[1]


def test_only_what_is_new_or_has_grown_is_read_again(capsys):
    runs([1000.0] * 3)
    call(capsys, "db", "sync")
    runs([1000.0], start=3)
    assert call(capsys, "db", "sync")[1] == f"1 run stored in {URL} (3 runs there already)\n"
    records = Path("reports/run-01/records.jsonl")
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:-1]))
    assert call(capsys, "db", "sync")[1] == f"1 run stored in {URL} (3 runs there already)\n"
    assert rows("select count(*) from runs") == [(4,)]
    launches = dict(rows("select run, launches from figures join runs on run_id = id where metric = 'throughput'"))
    assert launches == {"run-00": 3, "run-01": 2, "run-02": 3, "run-03": 3}


def test_figures_can_be_asked_for_by_other_programs(capsys):
    runs([1000.0])
    call(capsys, "db", "sync")
    (found,) = rows(
        'select run, suite, machine, unit, value, low, high, status, validity, runs."commit" '
        "from figures join runs on run_id = id where metric = 'throughput'"
    )
    assert found[:4] == ("run-00", "fake", "nvidia-imaginary-80gb", "samples/s")
    assert found[5] < found[4] < found[6]
    assert found[4] == pytest.approx(1000, rel=0.02)
    assert found[7:] == ("ok", "valid", "aaaaaaaaaaaa")


def test_several_folders_go_into_the_database_that_the_environment_names(capsys, monkeypatch):
    runs([1000.0] * 2, store=Path("one"))
    runs([1000.0] * 2, start=2, store=Path("two"))
    monkeypatch.setenv("GPUBENCH_DB", "sqlite:///all.db")
    assert call(capsys, "db", "sync", "one", "two")[1] == "4 runs stored in sqlite:///all.db\n"
    assert len(json.loads(call(capsys, "history", "--json")[1])["series"][0]["points"]) == 4


def test_a_case_and_an_accuracy_run_with_its_settings_are_told_apart(capsys):
    made = HandMade()
    planned = made.measured(1000.0, STEADY[:3], device="cuda", batch_size=64)
    made.trained(planned, 0.97, extra={"isolation_s": 0.1, "throughput": 10.0})
    made.write(Path("reports"), "run-00")
    assert call(capsys, "db", "sync") == (ExitStatus.OK, f"1 run stored in {URL}\n", "")
    found = rows("select kind, value from figures where metric = 'isolation_s' order by kind")
    assert found == [("measure", 0.06), ("quality", 0.1)]
    series = json.loads(call(capsys, "history", "--json", "--db", URL)[1])["series"]
    assert [(each["label"], len(each["points"])) for each in series] == [("cuda 64", 1), ("quality cuda 64", 1)]


def test_arms_are_no_points_of_a_history(capsys):
    runs([1000.0])
    two_arms().write(Path("reports"), "ab", created="2026-11-20T10:00:00Z")
    assert call(capsys, "db", "sync")[1] == f"1 run stored in {URL} (1 A/B run left out)\n"


def test_a_run_that_cannot_be_read_keeps_none_of_the_others_out(capsys):
    runs([1000.0] * 2)
    Path("reports/run-00/run.json").write_text("{")
    status, out, err = call(capsys, "db", "sync")
    assert (status, out) == (ExitStatus.CASE_FAILED, f"1 run stored in {URL}\n")
    assert "note: run-00 was left out" in err


def test_what_the_folder_lost_the_database_keeps(capsys):
    runs([1000.0] * 2)
    call(capsys, "db", "sync")
    shutil.rmtree("reports/run-00")
    assert call(capsys, "db", "sync")[1] == f"0 runs stored in {URL} (1 run there already)\n"
    assert rows("select count(*) from runs") == [(2,)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("reports.db", "that is not the URL of a database"),
        ("nosuch://host/name", "the driver for nosuch is not installed"),
        ("sqlite:////no/such/folder/x.db", "cannot be used: unable to open database file"),
    ],
)
def test_a_wrong_database_is_a_sentence(capsys, url, said):
    runs([1000.0])
    status, _, err = call(capsys, "db", "sync", "--db", url)
    assert status == ExitStatus.USAGE
    assert said in err


def test_no_password_is_printed(capsys):
    runs([1000.0])
    url = "postgresql+psycopg://bench:hunter2@127.0.0.1:1/gpubench?connect_timeout=2"
    status, out, err = call(capsys, "db", "sync", "--db", url)
    assert status == ExitStatus.USAGE
    assert "@127.0.0.1" in err
    assert "hunter2" not in out + err


def test_a_database_of_a_newer_gpubench_is_refused(capsys):
    runs([1000.0])
    call(capsys, "db", "sync")
    with closing(sqlite3.connect("reports/gpubench.db")) as connection, connection:
        connection.execute("update gpubench_schema set number = 3")
    status, _, err = call(capsys, "history", "--db", URL)
    assert status == ExitStatus.USAGE
    assert "was made by another gpubench (schema 3, this one has 2)" in err


def test_a_database_without_runs_says_how_to_fill_it_and_is_not_made_by_reading(capsys):
    status, _, err = call(capsys, "history", "--db", "sqlite:///typo.db")
    assert status == ExitStatus.USAGE
    assert "the database sqlite:///typo.db holds no runs" in err
    assert "gpubench db sync" in err
    assert not Path("typo.db").exists()


def test_a_folder_that_is_not_there_is_named(capsys):
    assert call(capsys, "db", "sync", "nowhere")[0] == ExitStatus.USAGE


def compared(capsys, *arguments):
    status, out, err = call(capsys, "compare", *arguments, "--allow-unpaired", "--json")
    assert status == ExitStatus.OK, err
    return json.loads(out), err


def verdicts(document):
    return [
        (case["label"], name, moved["judgement"])
        for case in document["cases"]
        for name, moved in case["changes"].items()
    ]


def test_runs_of_a_database_are_compared_as_their_folders_are(capsys):
    runs([1000.0, 900.0, 1010.0])
    call(capsys, "db", "sync")
    for names in (("run-00", "run-01"), ("@last~2", "@last"), ("run-02", "run-01")):
        assert compared(capsys, *names, "--db", URL) == compared(capsys, *names)


def test_a_run_whose_folder_is_gone_has_the_same_verdicts_and_says_so(capsys):
    runs([1000.0, 900.0])
    of_folders, _ = compared(capsys, "run-00", "run-01")
    call(capsys, "db", "sync")
    shutil.rmtree("reports/run-00")
    of_database, said = compared(capsys, "run-00", "run-01", "--db", URL)
    assert verdicts(of_database) == verdicts(of_folders)
    assert ("cuda 64", "throughput", "worse") in verdicts(of_folders)
    assert "note: run-00 is compared as the database has it" in said
    assert "its folder is gone" in said
    assert "run-01 is compared" not in said


def test_another_run_in_the_place_of_a_kept_one_is_not_taken_for_it(capsys):
    runs([1000.0, 900.0])
    call(capsys, "db", "sync")
    shutil.rmtree("reports/run-01")
    runs([500.0], start=1)
    head = Path("reports/run-01/run.json")
    head.write_text(head.read_text().replace("2026-11-02", "2026-11-22"))
    of_database, said = compared(capsys, "run-00", "run-01", "--db", URL)
    assert "run-01 now holds another run" in said
    (change,) = [case["changes"]["throughput"]["change"] for case in of_database["cases"]]
    assert change["value"] == pytest.approx(-0.1, abs=0.01)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["run-00"], "a database has no A/B runs"),
        (["run-00", "run-7"], "no run in the database sqlite:///reports/gpubench.db is called 'run-7'"),
        (["run-00", "@last~5"], "goes too far back"),
        (["run-00", "run-0"], "matches 2 runs"),
    ],
)
def test_a_name_that_the_database_lacks_is_a_sentence(capsys, names, said):
    runs([1000.0, 900.0])
    call(capsys, "db", "sync")
    status, _, err = call(capsys, "compare", *names, "--db", URL)
    assert status == ExitStatus.USAGE
    assert said in err


def test_a_database_for_histories_is_none_for_comparisons_unless_named(capsys, monkeypatch):
    """`@last` would otherwise be another run than the one just measured."""
    runs([1000.0, 900.0])
    monkeypatch.setenv("GPUBENCH_DB", "sqlite:///nowhere.db")
    assert call(capsys, "compare", "run-00", "run-01")[0] == ExitStatus.OK
