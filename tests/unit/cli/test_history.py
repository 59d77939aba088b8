import json
import shutil
from pathlib import Path

import pytest
from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade, two_arms

from gpubench.cli.commands import history
from gpubench.cli.main import COMMANDS, main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def runs(rates, *, start=0, commit="a", torch="2.13.0", batch_size=64, driver="580.1", **info):
    for number, rate in enumerate(rates, start=start):
        made = HandMade(
            environment={
                **ENVIRONMENT,
                "git": {"commit": commit * 12, "dirty": False},
                "worker": {"torch": torch},
                "driver": {**ENVIRONMENT["driver"], "driver": driver},
            }
        )
        made.measured(rate * STEADY[number % 10], STEADY[:3], device="cuda", batch_size=batch_size)
        made.write(Path("reports"), f"run-{number:02d}", created=f"2026-11-{1 + number:02d}T10:00:00Z", **info)


def call(capsys, *arguments):
    status = main(["history", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_change_of_level_names_its_run_and_what_else_changed(capsys):
    runs([1000.0] * 6)
    runs([900.0] * 6, start=6, commit="b", torch="2.14.0")
    status, out, _ = call(capsys)
    assert status == 0
    assert "1 change of level in 1 case." in out
    assert "a reason to measure again, not as a verdict" in " ".join(out.split())
    row = next(line for line in out.splitlines() if "run-06" in line)
    assert "-10" in row
    assert "torch and git commit" in row
    assert "gpubench run fake --arm before=git=aaaaaaaaaaaa --arm after=git=bbbbbbbbbbbb" in out


def test_a_file_of_the_workload_that_changed_is_named(capsys):
    runs([1000.0] * 6, workload_files={"net.py": "a" * 16, "cfg.json": "b" * 16})
    runs([900.0] * 6, start=6, workload_files={"net.py": "a" * 16, "cfg.json": "c" * 16})
    _, out, _ = call(capsys)
    assert "workload files" in next(line for line in out.splitlines() if "run-06" in line)
    main(["compare", "run-05", "run-06"])
    said = " ".join(capsys.readouterr().out.split())
    assert "workload files -cfg.json (bbbbbbbb) +cfg.json (cccccccc)" in said
    runs([900.0], start=12)
    main(["compare", "run-06", "run-12"])
    assert "workload files" not in capsys.readouterr().out


def test_a_copy_of_a_run_is_no_further_run(capsys):
    runs([1000.0, 500.0])
    for name in ("run-00", "run-01"):
        for copy in "bcdef":
            shutil.copytree(Path("reports") / name, Path("reports") / f"{name}-{copy}")
    _, out, _ = call(capsys, "throughput", "--json")
    assert [(len(series["points"]), series["changes"]) for series in json.loads(out)["series"]] == [(2, [])]
    assert "Copies of other runs left out: 10." in "".join(call(capsys)[1:])


def test_another_driver_is_another_machine_and_no_change_of_level(capsys):
    runs([1000.0] * 6)
    runs([900.0] * 6, start=6, driver="600.2")
    _, out, _ = call(capsys, "throughput", "--json")
    found = json.loads(out)["series"]
    assert [(len(series["points"]), series["changes"]) for series in found] == [(6, []), (6, [])]
    assert [series["machine"] for series in found] == [
        "nvidia-imaginary-80gb (driver 580.1)",
        "nvidia-imaginary-80gb (driver 600.2)",
    ]


def test_what_an_older_record_lacks_makes_no_other_machine(capsys):
    runs([1000.0] * 3)
    runs([1000.0] * 3, start=3, driver=None)
    assert len(json.loads(call(capsys, "throughput", "--json")[1])["series"]) == 1


def test_no_change_is_said(capsys):
    runs([1000.0] * 10)
    status, out, _ = call(capsys, "throughput")
    assert status == 0
    assert "No change of level." in out
    assert "1 case over 10 runs" in out


def test_too_few_runs_to_tell_are_no_level_that_did_not_change(capsys):
    runs([1000.0, 500.0, 200.0])
    out = call(capsys, "throughput")[1]
    assert "Too early to tell. No series has 8 runs yet" in out
    assert "No change of level" not in out


def test_the_direction_of_the_metric_says_what_is_worse(capsys):
    runs([1000.0] * 5)
    runs([1200.0] * 5, start=5)
    _, faster, _ = call(capsys, "throughput")
    assert any(line.lstrip().startswith("+ ") and "run-05" in line for line in faster.splitlines())
    _, energy, _ = call(capsys, "energy_per_sample_j")
    assert any(line.lstrip().startswith("+ ") and "run-05" in line for line in energy.splitlines())


def test_what_is_shorter_than_the_rest_is_counted(capsys):
    runs([1000.0] * 8)
    runs([1000.0] * 3, start=8, driver="600.2")
    assert "in the 1 series that can tell" in call(capsys)[1]
    assert "1 series shorter than 8 runs: a change of level needs four on each side" in call(capsys)[1]


def test_cases_are_chosen_by_an_expression_and_runs_by_their_suite(capsys):
    runs([1000.0] * 3)
    runs([1000.0] * 3, start=3, batch_size=128)
    _, out, _ = call(capsys, "-k", "batch_size=128", "--json")
    assert [series["label"] for series in json.loads(out)["series"]] == ["cuda 128"]
    status, _, err = call(capsys, "--suite", "other")
    assert status == 2
    assert "no stored run in reports has throughput" in err


def test_runs_with_arms_and_damaged_ones_are_left_out_and_named(capsys):
    runs([1000.0] * 3)
    made = two_arms()
    made.measured(1000.0, head=900.0)
    made.write(Path("reports"), "arms")
    damaged = Path("reports/run-01/run.json")
    damaged.write_text("{")
    status, out, _ = call(capsys)
    assert status == 0
    assert "run-01 was left out" in out
    assert "A/B runs left out: 1." in out


@pytest.mark.parametrize(
    ("part", "value"),
    [("precision", "fp4"), ("tile", 3), ("batch_size", "many")],
)
def test_a_run_with_a_setting_of_another_version_is_one_line(capsys, part, value):
    runs([1000.0] * 3)
    head = Path("reports/run-01/run.json")
    content = json.loads(head.read_text())
    content["cases"][0]["settings"][part] = value
    head.write_text(json.dumps(content))
    status, out, _ = call(capsys)
    assert (status, "run-01 was left out" in " ".join(out.split())) == (0, True)
    assert "1 case over 2 runs" in out


def test_json_holds_every_point(capsys):
    runs([1000.0] * 5)
    runs([900.0] * 5, start=5, commit="b")
    document = json.loads(call(capsys, "--json")[1])
    (series,) = document["series"]
    assert [point["run"] for point in series["points"]] == [f"run-{number:02d}" for number in range(10)]
    assert [change["run"] for change in series["changes"]] == ["run-05"]
    assert series["machine"] == "nvidia-imaginary-80gb"


def test_an_unknown_metric_is_wrong_use(capsys):
    status, _, err = call(capsys, "speed")
    assert status == 2
    assert "'speed' is not a metric that can get better or worse" in err


def test_the_commands_line_in_the_main_help_is_its_own():
    (entry,) = [entry for entry in COMMANDS if entry.name == "history"]
    assert history.command.help.splitlines()[0] == entry.line
