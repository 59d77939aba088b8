import csv
import json
import os
from pathlib import Path

import jsonschema
import pytest
from fakes.gate_runs import two_arms
from fakes.hostile import HOSTILE, MOVES_A_TERMINAL, STEERS_CI, hostile_run
from fakes.runs import ENVIRONMENT, invented_run
from fakes.stored import stored
from fakes.terminal import on_a_terminal

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.store.run_reader import read_log

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    run = stored(invented_run(tag="first"), folder / "20261123-1602-cnn-7f3a")
    log = run.folder / "cases" / "12" / "1.log"
    log.parent.mkdir(parents=True)
    log.write_text("Traceback (most recent call last):\n\x1b[31mRuntimeError: CUDA error\n")
    return folder


def show(store: Path, *arguments: str) -> int:
    return main(["show", *arguments, "--store", str(store)])


def test_the_last_run_is_shown_when_none_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store) == ExitStatus.OK
    said = capsys.readouterr().out
    assert said.startswith("cnn: An invented run: no number in it was measured\n")
    assert said.index("was fastest") < said.index("Best settings") < said.index("All cases")
    assert "Cold start" not in said


def test_all_shows_every_section(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "first", "--all") == ExitStatus.OK
    said = capsys.readouterr().out
    assert all(
        heading in said
        for heading in ("Cold start", "Memory", "Energy and device state", "Set-up", "How these numbers were made")
    )


@pytest.mark.parametrize("name", ["@last:6", "first:6", "first:cuda tf32 b1024"])
def test_a_case_is_named_by_its_number_or_label(store: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert show(store, name) == ExitStatus.OK
    said = capsys.readouterr().out
    assert "Case 6: cuda tf32 b1024" in said
    assert "gpubench run suites/cnn.yaml --case " in said


def test_a_failed_case_shows_its_log_harmless(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "@last:12") == ExitStatus.OK
    said = capsys.readouterr().out
    assert "  Traceback (most recent call last):\n  \\x1b[31mRuntimeError: CUDA error\n" in said
    assert "\x1b" not in said


def test_a_case_that_is_not_there_is_said_with_how_to_find_one(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "@last:99") == ExitStatus.USAGE
    assert "Name a case by its number (1 to 13, 14 to 17 for quality runs)" in capsys.readouterr().err


def test_json_is_one_document_of_the_run_or_of_one_case(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--json") == ExitStatus.OK
    document = json.loads(capsys.readouterr().out)
    assert len(document["cases"]) == 17
    assert show(store, "@last:6", "--json") == ExitStatus.OK
    (case,) = json.loads(capsys.readouterr().out)["cases"]
    assert case["index"] == 6


def test_csv_has_a_row_per_case_and_metric(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--csv") == ExitStatus.OK
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("index,case,kind,label,workload")
    assert any(",throughput," in row for row in rows)


@pytest.mark.parametrize("arguments", [("--all",), ("--csv",), ("--json",), *((f":{case}",) for case in range(1, 8))])
def test_what_comes_from_outside_is_inert_on_every_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run = stored(hostile_run(), tmp_path / "run")
    failed = next(record for record in run.records if record.failure is not None)
    assert failed.failure is not None
    assert failed.failure.log is not None
    log = run.folder / failed.failure.log
    log.parent.mkdir(parents=True)
    log.write_text(HOSTILE)
    name = f"{run.folder}{arguments[0]}" if arguments[0].startswith(":") else str(run.folder)
    assert show(tmp_path, name, *(each for each in arguments if each.startswith("-"))) == ExitStatus.OK
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not [char for char in MOVES_A_TERMINAL if char in text]
        assert not STEERS_CI.search(text)
    if arguments == ("--csv",):
        fields = [field for row in csv.reader(said.out.splitlines()) for field in row]
        assert not [field for field in fields if field.lstrip().startswith(("=", "+", "@", "-")) and not number(field)]
        assert any(field.startswith("'=HYPERLINK") for field in fields)


def number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "link above", "pipe", "folder", "nul"])
def test_a_log_is_read_only_inside_its_run(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    run = tmp_path / "run"
    (run / "cases").mkdir(parents=True)
    (run / "cases" / "link").symlink_to(secret)
    (run / "above").symlink_to(tmp_path)
    os.mkfifo(run / "cases" / "pipe")
    names = {"parent": "../secret", "absolute": str(secret), "link": "cases/link", "link above": "above/secret"}
    names |= {"pipe": "cases/pipe", "folder": "cases", "nul": "cases/a\0b"}
    assert read_log(run, names[kind]) == ""


def test_of_a_long_log_only_the_end_is_read(tmp_path: Path) -> None:
    with (tmp_path / "1.log").open("wb") as file:
        file.truncate(3 * 2**30)
        file.seek(0, os.SEEK_END)
        file.write(b"the end")
    shown = read_log(tmp_path, "1.log", most_bytes=10)
    assert shown == "[...]\n\0\0\0the end"


@pytest.mark.parametrize("case", ["", ":1"])
def test_arms_are_kept_apart_in_json_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    made = two_arms()
    made.measured(1000.0, head=900.0, batch_size=64)
    made.write(tmp_path, "ab")
    assert show(tmp_path, f"ab{case}", "--json") == ExitStatus.OK
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "run-document-1.json").read_text()))
    speeds = {found["arm"]: found["metrics"]["throughput"]["value"] for found in document["cases"]}
    assert speeds == {"base": pytest.approx(1000, rel=0.01), "head": pytest.approx(900, rel=0.01)}
    assert document["run"]["counts"] == {"ok": 2}
    assert [said.partition(":")[0] for said in document["headline"]] == ["base", "head"]
    assert show(tmp_path, f"ab{case}", "--csv") == ExitStatus.OK
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["arm"]: float(row["value"]) for row in rows if row["metric"] == "throughput"} == speeds


@pytest.mark.parametrize("case", ["", ":1"])
def test_arms_are_kept_apart_on_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    made = two_arms()
    made.measured(1000.0, head=500.0, batch_size=64)
    made.write(tmp_path, "ab")
    assert show(tmp_path, f"ab{case}") == ExitStatus.OK
    base, head = capsys.readouterr().out.replace("\u202f", " ").split(", arm head")
    assert ", arm base" in base
    assert "1 000" in base
    assert "500" in head
    assert "750" not in base + head
    assert f"`gpubench compare {tmp_path / 'ab'}` compares the arms." in head.replace("\n", " ")


def test_json_and_csv_exclude_each_other(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--json", "--csv") == ExitStatus.USAGE
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_real_terminal_columns_go_whole_and_are_named(store: Path, width: int) -> None:
    said = on_a_terminal(["show", "@last", "--store", str(store)], width)
    assert "…" not in said
    assert "289\u202f615 ±0.5%" in said
    assert "not shown at this width" in said
    assert "\x1b[" in said, "colour where there is a terminal"


def test_no_color_is_honoured_on_a_terminal(store: Path) -> None:
    assert "\x1b[" not in on_a_terminal(["show", "@last", "--store", str(store)], 100, NO_COLOR="1", TERM="dumb")


def test_a_price_adds_what_samples_cost_to_every_format(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--json", "--price", "3.6/h") == ExitStatus.OK
    document = json.loads(capsys.readouterr().out)
    assert document["price_per_hour"] == 3.6
    metrics = next(case["metrics"] for case in document["cases"] if "throughput" in case["metrics"])
    rate, money, samples = (metrics[name] for name in ("throughput", "money_per_sample", "samples_per_money"))
    assert samples["value"] == pytest.approx(1000 * rate["value"])
    assert samples["low"] == pytest.approx(1000 * rate["low"])
    assert money["value"] == pytest.approx(1 / samples["value"])
    assert (money["low"], money["high"]) == pytest.approx((1 / samples["high"], 1 / samples["low"]))
    assert show(store, "--csv", "--price", "3.6/h") == ExitStatus.OK
    assert "samples_per_money" in {row["metric"] for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert show(store, "--wide", "--price", "3.6/h") == ExitStatus.OK
    said = capsys.readouterr().out
    assert "M per money" in said
    assert "Money: the price of the machine's time, 3.60 an hour" in said


def test_a_file_has_the_price_of_the_run_s_machine(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "machines.yaml"
    prices.write_text(f"elsewhere: 9/h\n{ENVIRONMENT['gpus'][0]['name']}: 3.6/h  # on demand\n")
    assert show(store, "--json", "--price", str(prices)) == ExitStatus.OK
    assert json.loads(capsys.readouterr().out)["price_per_hour"] == 3.6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected a price for each machine or device"),
        ("- a: 1/h", "expected a price for each machine or device"),
        ("a: 1/h\nb: 2", "machines.yaml:2:4 error b: expected money per hour, such as 2.5/h, got 2"),
        ("a: 0/h", "machines.yaml:1:4 error a: expected money per hour"),
        ("a: 1/h\nA: 2/h", "machines.yaml:2:1 error A: has two prices"),
        ("a: 1/h\na: 2/h", "machines.yaml:2:1 error"),
        ("a: [", "machines.yaml:1:"),
        ("elsewhere: 1/h", "has no price of this machine, whose names are"),
    ],
)
def test_mistakes_in_a_file_of_prices_are_told_with_their_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    prices = tmp_path / "machines.yaml"
    prices.write_text(content)
    assert show(store, "--price", str(prices)) == ExitStatus.USAGE
    assert said in capsys.readouterr().err.replace(f"{tmp_path}/", "")


def test_a_file_of_prices_that_is_missing_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--price", "missing.yaml") == ExitStatus.USAGE
    assert "missing.yaml cannot be read" in capsys.readouterr().err


def test_without_a_price_no_money_is_mentioned(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--json") == ExitStatus.OK
    assert "money" not in capsys.readouterr().out
    assert show(store, "--all", "--wide") == ExitStatus.OK
    assert "money" not in capsys.readouterr().out.lower()


def test_a_price_that_is_none_is_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(store, "--price", "2.5") == ExitStatus.USAGE
    assert "expected money per hour, such as 2.5/h" in capsys.readouterr().err
