import json
from pathlib import Path

import pytest
from fakes.gate_runs import two_arms

from gpubench.cli.commands import plan
from gpubench.cli.main import COMMANDS, main
from gpubench.runner.run import RunOutcome
from gpubench.store.run_reader import load_run

NOISY = (1.0, 1.3, 0.8, 1.2, 0.7, 1.1, 0.9, 1.25, 0.75, 1.05)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(capsys, *arguments):
    status = main(["plan", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def a_pilot(name="pilot"):
    made = two_arms()
    made.measured(1000.0, head=1000.0, batch_size=64)
    made.measured(1000.0, NOISY, head=1000.0, batch_size=128)
    return made.write(Path("reports"), name)


def test_a_stored_pilot_gives_rounds_per_case(capsys):
    a_pilot()
    status, out, _ = call(capsys, "--pilot", "@last", "--sesoi", "2%")
    assert status == 0
    assert out.startswith("Plan for a smallest change of 2.0%")
    assert "1 case of 2 too noisy to find the change 95 times in 100" in " ".join(out.split())
    quiet, noisy = (next(line for line in out.splitlines() if f" {batch} " in line) for batch in (64, 128))
    assert "100%" in quiet
    assert noisy.lstrip().startswith("!")
    assert "more than 24 rounds" in noisy


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (0.01, "--rounds 24 measures until every case is settled."),
        (1, "--rounds 24 settles the cases that need no more than 24 rounds."),
    ],
)
def test_the_planned_rounds_settle_what_is_not_too_noisy(capsys, noise, said):
    made = two_arms()
    made.measured(1000.0, head=1000.0, batch_size=64)
    made.measured(1000.0, [level**noise for level in NOISY], head=1000.0, batch_size=128)
    made.write(Path("reports"), "pilot")
    _, out, _ = call(capsys, "--pilot", "pilot")
    assert said in " ".join(out.split())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((), "--rounds 24 measures"),
        (("--sesoi", "2%"), "--rounds 24 --sesoi 2% measures"),
        (("--sesoi", "0.035", "--max-rounds", "40"), "--rounds 40 --sesoi 3.5% measures"),
    ],
)
def test_what_is_to_be_typed_next_measures_what_was_planned(capsys, given, shown):
    made = two_arms()
    made.measured(1000.0, head=1000.0, batch_size=64)
    made.write(Path("reports"), "pilot", selection="batch_size<=64 and mode=train", interleave="launch")
    _, out, _ = call(capsys, "--pilot", "pilot", *given)
    said = " ".join(out.split())
    assert (
        f"run SUITE -k 'batch_size<=64 and mode=train' --interleave launch --arm base=... --arm head=... {shown}"
        in said
    )


def test_json_has_every_figure(capsys):
    a_pilot()
    _, out, _ = call(capsys, "--pilot", "pilot", "--json", "--max-rounds", "40")
    document = json.loads(out)
    assert document["settings"] == {"sesoi": 0.03, "alpha": 0.006, "max_rounds": 40}
    assert document["cases"][0]["forecast"]["found"] == 1.0
    assert document["cases"][1]["forecast"]["found"] < 0.1


def test_without_a_pilot_the_suite_is_measured_against_itself(capsys, monkeypatch):
    asked = []

    def start(request, _progress):
        asked.append(request)
        pilot = load_run(a_pilot("measured"))
        return RunOutcome(pilot.folder, pilot.info, interrupted=False)

    monkeypatch.setattr("gpubench.runner.run.start", start)
    Path("suite.yaml").write_text(
        "schema: 1\nname: mine\ndefaults: {data: digits}\nmatrix: {batch_size: [8, 16]}\nquality: {epochs: 1}\n"
    )
    status, out, _ = call(
        capsys, "suite.yaml", "--rounds", "8", "-s", "batch_size=8", "-k", "mode=train", "--interleave", "launch"
    )
    assert status == 0
    assert "from the pilot measured" in out
    assert (
        "gpubench run suite.yaml -s batch_size=8 -k mode=train --interleave launch --arm base=... --arm head=... --rounds 24 "
    ) in " ".join(out.split())
    (request,) = asked
    assert [(arm.name, arm.case(request.loaded.cases[0])) for arm in request.arms] == [
        ("first", request.loaded.cases[0]),
        ("second", request.loaded.cases[0]),
    ]
    assert (request.rounds, request.interleave, request.selection) == (8, "launch", "mode=train")
    assert [case.batch_size for case in request.loaded.cases] == [8]
    assert request.loaded.suite.quality is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a suite to measure, or a stored run"),
        (("cnn-smoke", "--pilot", "@last"), "name a suite to measure, or a stored run"),
        (("--pilot", "none"), "no run is called 'none'"),
        (("--pilot", "pilot", "--sesoi", "0%"), "must be above 0"),
        (("--pilot", "pilot", "--max-rounds", "2"), "2 is not in the range"),
    ],
)
def test_wrong_use_is_2(capsys, arguments, said):
    status, _, err = call(capsys, *arguments)
    assert status == 2
    assert said in err.lower()


def test_the_commands_line_in_the_main_help_is_its_own():
    (entry,) = [entry for entry in COMMANDS if entry.name == "plan"]
    assert plan.command.help.splitlines()[0] == entry.line


def test_launches_of_the_two_arms_of_a_pilot_share_no_row(monkeypatch):
    from contextlib import nullcontext

    from gpubench.cli.screens import run_progress
    from gpubench.runner import run as runner

    shown = []
    monkeypatch.setattr(run_progress, "open_progress", lambda *, wide, verdicts: nullcontext(shown.append(verdicts)))
    monkeypatch.setattr(
        runner,
        "start",
        lambda *_: runner.RunOutcome(a_pilot(), load_run(Path("reports/pilot")).info, interrupted=False),
    )
    options = {"selection": None, "rounds": 6, "interleave": None, "store": Path("reports"), "wide": False}
    found = plan._pilot("cnn-smoke", (), **options)
    assert shown[0].of(found.info.cases[0]) == ()
