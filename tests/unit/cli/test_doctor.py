import json

import pytest
from click.testing import CliRunner

from gpubench.cli import main
from gpubench.cli.commands import doctor
from gpubench.core.errors import UsageError
from gpubench.machine.doctor import examination
from gpubench.machine.doctor.examination import Examination
from gpubench.machine.doctor_row import DoctorRow, Group, Level

OK = DoctorRow(Group.SOFTWARE, "torch", Level.OK, "2.15.0, CUDA 13.2", "never shown")
WARN = DoctorRow(
    Group.GPU, "GPU 0 clocks", Level.WARN, "SM clock not locked (up to 1980 MHz)", "sudo nvidia-smi -lgc MHZ"
)
BAD = DoctorRow(
    Group.GPU,
    "GPU 0 processes",
    Level.BAD,
    "in use by 4242 train.py on GPU-fa4e0000-0000-4000-8000-000000000001",
    "Stop them.",
)
NA = DoctorRow(Group.HOST, "governor", Level.NA, "no frequency scaling visible")


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the doctor finds, and how it was asked; the first entry is replaced by a test."""
    asked: list[object] = [Examination([OK, WARN, NA], {"host": {"step_s": 0.002}})]

    def examine(self_test: str, say: object) -> object:
        asked.append(self_test)
        assert callable(say)
        return asked[0]

    monkeypatch.setattr(examination, "examine", examine)
    return asked


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(doctor.command, list(arguments), standalone_mode=False)
    assert result.exception is None
    return result.return_value, result.stdout


def test_rows_are_grouped_with_marks_levels_and_remedies(examined: list[object]) -> None:
    status, said = run()
    assert (status, examined[1]) == (0, "auto")
    lines = [line.rstrip() for line in said.splitlines()]
    assert lines[0] == "Software"
    assert lines[1].startswith("  torch ")
    assert lines[1].endswith("  ok")
    assert "! GPU 0 clocks" in said
    assert "sudo nvidia-smi -lgc MHZ" in said
    assert "never shown" not in said
    assert lines[-1] == "Fit to measure: 0 bad, 1 warning."


def test_strict_exits_with_4_only_for_what_is_bad(examined: list[object]) -> None:
    assert run("--strict")[0] == 0
    examined[0] = Examination([OK, BAD])
    assert run("--strict")[0] == 4
    status, said = run()
    assert status == 0
    assert said.splitlines()[-1] == "Not fit to measure: 1 bad, 0 warnings (exit 4 with --strict)."


def test_json_has_rows_facts_and_the_verdict(examined: list[object]) -> None:
    examined[0] = Examination([BAD], {"host": None})
    _, said = run("--json")
    content = json.loads(said)
    assert (content["schema"], content["fit"]) == (1, False)
    assert content["facts"] == {"host": None}
    assert content["rows"][0] == {
        "group": "GPU state",
        "name": "GPU 0 processes",
        "level": "bad",
        "text": BAD.text,
        "remedy": "Stop them.",
        "data": {},
    }


def test_the_block_for_an_issue_names_nobody(examined: list[object]) -> None:
    examined[0] = Examination([OK, BAD], worker_versions={"torch": "2.15.0"})
    _, said = run("--env")
    assert said.startswith("### gpubench doctor\n\n* bad: GPU 0 processes: in use by 4242 train.py on GPU-")
    assert "fa4e0000-0000-4000-8000-000000000001" not in said
    env = json.loads(said.split("```json\n")[1].split("```")[0])
    assert env["hostname"] is None
    assert env["worker"] == {"torch": "2.15.0"}


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_no_width_cuts_a_number_a_uuid_or_a_word(
    examined: list[object], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    cost = DoctorRow(Group.SELF_TEST, "GPU 0 sampler cost", Level.OK, "-0.09% of step time (-1.25% to +0.20%)")
    examined[0] = Examination([OK, WARN, BAD, NA, cost])
    monkeypatch.setenv("COLUMNS", str(width))
    _, said = run()
    words = said.split()
    for row in (WARN, BAD, NA, cost):
        assert set(row.text.split()) <= set(words)
        assert set(row.remedy.split()) <= set(words)
    assert width < 80 or max(len(line) for line in said.splitlines()) <= width


def test_the_self_test_says_when_it_was_made(examined: list[object]) -> None:
    row = DoctorRow(Group.SELF_TEST, "steadiness", Level.OK, "steady")
    examined[0] = Examination([row], {"host": {"measured_unix_s": 1_700_000_000}, "GPU-1": None})
    assert "Self-test of 2023-11-1" in run()[1]
    examined[0] = Examination([row], {"host": None})
    assert "Self-test\n" in run()[1]


def test_one_form_of_output_at_a_time(examined: list[object]) -> None:
    result = CliRunner().invoke(doctor.command, ["--json", "--env"], standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert len(examined) == 1


def test_the_block_hides_home_folders(examined: list[object]) -> None:
    examined[0] = Examination(
        [DoctorRow(Group.GPU, "GPU 0 processes", Level.BAD, "in use by 4242 /home/alice/train.py")]
    )
    assert "in use by 4242 ~/train.py" in run("--env")[1]


@pytest.mark.parametrize(("option", "asked"), [("--self-test", "always"), ("--no-self-test", "never")])
def test_the_self_test_can_be_asked_for_or_left_out(examined: list[object], option: str, asked: str) -> None:
    run(option)
    assert examined[1] == asked


def test_the_commands_line_in_the_main_help_is_its_own() -> None:
    (entry,) = [entry for entry in main.COMMANDS if entry.name == "doctor"]
    assert (doctor.command.help or "").splitlines()[0] == entry.line
