import json
from pathlib import Path

import pytest

from gpubench.cli.main import main

BODY = """\
schema: 1
name: demo
description: Something to try.
defaults: {data: digits}
matrix:
  mode: [train, infer]
  precision: [fp32, tf32, amp-bf16]
  batch_size: [64, 256]
exclude:
  - {precision: tf32}
measure: {repeats: 2, max_time: 5s}
quality: {epochs: 3, seeds: 2}
"""


@pytest.fixture
def validate(tmp_path, monkeypatch, capsys):
    """Runs the command on a suite file of this text and gives its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(text, *arguments):
        Path("demo.yaml").write_text(text)
        status = main(["validate", "demo.yaml", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_right_suite_is_counted(validate):
    status, out, err = validate(BODY)
    assert (status, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "demo: Something to try."
    assert "precision   fp32, tf32, amp-bf16" in lines
    assert "cases       8 (12 combinations, 4 excluded)" in lines
    assert "launches    16: 2 launches per case, each measuring at most 5.0 s" in lines
    assert "quality     4 quality runs of 3 epochs" in lines
    assert (
        lines[-1] == "No mistakes. --cases lists the cases; gpubench run demo.yaml --dry-run says what would run here."
    )


def test_cases_are_listed_with_number_label_and_id(validate):
    _, out, _ = validate(BODY, "--cases", "-k", "mode=infer and batch_size>64")
    table = [line.split("  ") for line in out.splitlines() if "infer " in line]
    assert [[cell.strip() for cell in row if cell.strip()][:2] for row in table] == [
        ["1", "infer fp32 b256"],
        ["2", "infer amp-bf16 b256"],
    ]
    assert "2 of 8" in out
    assert "quality run" in out


def test_options_are_applied_before_counting(validate):
    _, out, _ = validate(BODY, "-s", "batch_size=8,16,32", "-s", "quality=off")
    assert "12 (18 combinations, 6 excluded)" in out
    assert "quality" not in out


def test_mistakes_go_to_stderr_and_the_status_says_wrong_use(validate):
    status, out, err = validate(BODY.replace("tf32, amp", "tf23, amp"), "-s", "mode=trian")
    assert (status, out) == (2, "")
    assert err == (
        "-s mode=trian error matrix.mode[0]: unknown value 'trian'\n"
        "   | mode=trian\n"
        "   |      ^^^^^ did you mean 'train'?\n"
        "demo.yaml:7:21 error matrix.precision[1]: unknown value 'tf23'\n"
        "  7 |   precision: [fp32, tf23, amp-bf16]\n"
        "    |                     ^^^^ did you mean 'tf32'?\n"
        "2 errors. Nothing ran.\n"
    )


def test_what_is_probably_not_meant_is_shown_and_is_no_failure(validate):
    status, out, err = validate(BODY.replace("precision: tf32}", "precision: fp16}"))
    assert status == 0
    assert err.startswith("demo.yaml:10:5 warning exclude[0]: excludes nothing: no combination matches it\n")
    assert out.splitlines()[-1].startswith("1 warning. ")


def test_json_is_one_document(validate):
    status, out, err = validate(BODY, "--json", "--cases")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert (found["schema"], found["ok"], found["suite"]["name"], found["problems"]) == (1, True, "demo", [])
    assert (found["num_combinations"], found["num_excluded"]) == (12, 4)
    assert (found["num_cases"], found["num_launches"], found["num_quality_runs"]) == (8, 16, 4)
    assert len(found["cases"]) == 8
    assert found["cases"][0]["label"] == "train fp32 b64"
    assert found["cases"][0]["settings"]["precision"] == "fp32"


def test_json_of_a_wrong_suite_has_the_mistakes_with_their_places(validate):
    status, out, err = validate(BODY.replace("tf32, amp", "tf23, amp"), "--json")
    found = json.loads(out)
    assert (status, err, found["ok"]) == (2, "", False)
    assert found["problems"] == [
        {
            "severity": "error",
            "path": "matrix.precision[1]",
            "message": "unknown value 'tf23'",
            "suggestion": "did you mean 'tf32'?",
            "source": "demo.yaml",
            "line": 7,
            "column": 21,
            "length": 4,
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-k", "mode=evaluate"], "unknown value 'evaluate'"),
        (["-k", "batch_size=3"], "No case of demo matches 'batch_size=3'"),
        (["-k", "(mode=train"], "expected `)`"),
    ],
)
def test_a_selection_that_cannot_be_used_is_wrong_use(validate, arguments, said):
    status, out, err = validate(BODY, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert "hint: " in err


def test_control_characters_of_a_file_never_reach_the_terminal(validate):
    _, _, err = validate(BODY.replace("digits", "\x1b[31m"))
    assert "\x1b" not in err
    assert "U+001B" in err


def test_shipped_suites_go_by_their_name(capsys):
    assert main(["validate", "resnet50"]) == 0
    out = capsys.readouterr().out
    assert "gpubench run resnet50 --dry-run" in out
    assert "requires" in out
    assert main(["validate", "resnet51"]) == 2
    assert "Did you mean 'resnet50'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ("nomodule:Nope", "there is no module 'nomodule' beside the suite file or on the Python path"),
        ("min:Net", "did you mean 'mine'?"),
        ("mine:Nett", "the module 'mine' has no 'Nett'"),
        ("mine:Nett", "did you mean 'Net'?"),
        ("json.nowhere:Thing", "there is no module 'json.nowhere'"),
        ("json.decoder:JSONDekoder", "did you mean 'JSONDecoder'?"),
    ],
)
def test_a_workload_that_is_not_there_is_a_mistake_with_its_place(validate, workload, said):
    Path("mine.py").write_text("class Net: ...\nraise SystemExit('validate must not import this')\n")
    status, out, err = validate(f'schema: 1\nname: demo\ndefaults: {{workload: "{workload}"}}\n')
    assert (status, out) == (2, "")
    assert "demo.yaml:3:22 error defaults.workload: " in err
    assert said in err


@pytest.mark.parametrize(
    "source",
    [
        "class Net: ...",
        "from elsewhere import Net",
        "from elsewhere import *",
        "try:\n    from elsewhere import Net\nexcept ImportError:\n    Net = None",
        "if True:\n    class Net: ...",
        "def __getattr__(name): ...",
        "globals()['N' + 'et'] = 1",
        "this is no Python",
    ],
)
def test_a_workload_that_may_be_there_is_left_to_the_worker(validate, monkeypatch, source):
    monkeypatch.setattr("gpubench.runner.check_workloads.unusable_workloads", lambda *_, **__: {})
    Path("mine.py").write_text(source)
    assert validate('schema: 1\nname: demo\ndefaults: {workload: "mine:Net"}\n')[0] == 0


def test_a_workload_that_cannot_be_imported_is_a_mistake_with_its_place(validate, monkeypatch):
    found = {"mine:Net": ("mine:Net needs the shape of one sample.", "Give it as --input")}
    monkeypatch.setattr("gpubench.runner.check_workloads.unusable_workloads", lambda *_, **__: found)
    Path("mine.py").write_text("class Net: ...")
    status, _, err = validate('schema: 1\nname: demo\ndefaults: {workload: "mine:Net"}\n')
    assert status == 2
    assert "demo.yaml:3:22 error defaults.workload: mine:Net needs the shape of one sample." in err
    assert "Give it as --input" in err


def test_a_workload_for_another_interpreter_is_left_to_it(validate):
    text = 'schema: 1\nname: demo\ndefaults: {workload: "nomodule:Nope"}\nmatrix: {python: [other/bin/python]}\n'
    assert validate(text)[0] == 0


@pytest.mark.parametrize("body", ["defaults: {env: {A: %s}}", "matrix: {python: [%s]}", "defaults: {data_root: %s}"])
def test_text_with_a_nul_is_a_mistake_with_its_place(validate, body):
    status, _, err = validate("schema: 1\nname: demo\n" + body % '"x\\0y"')
    assert status == 2
    assert f"demo.yaml:3:{body.index('%') + 1} error" in err
    assert "NUL" in err


def test_a_dry_run_marks_cases_whose_workload_is_not_there(tmp_path):
    from gpubench.cli.screens.dry_run_screen import without_workload
    from gpubench.store.run_info import PlannedCase
    from gpubench.suite.load import load_suite

    path = tmp_path / "demo.yaml"
    path.write_text('schema: 1\nname: demo\nmatrix: {workload: [cnn, "nomodule:Nope"]}\n')
    loaded = load_suite(path)
    planned = [
        PlannedCase(index=number, case_id=case.case_id, label="", settings=case.settings)
        for number, case in enumerate(loaded.cases, start=1)
    ]
    there, missing = without_workload(loaded, planned)
    assert there.skip_status is None
    assert missing.skip_status == "failed"
    assert "no module 'nomodule'" in missing.skip_reason


def test_no_secret_of_a_suite_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "s.yaml"
    path.write_text(
        "schema: 1\nname: s\ndescription: of https://me:planted-1@host\n"
        "defaults: {device: cpu, env: {API_KEY: planted-2}}\nmatrix: {env: [{B_KEY: planted-3}, {}]}\n"
    )
    assert main(["validate", str(path), "--cases"]) == 0
    assert main(["validate", str(path), "--cases", "--json"]) == 0
    assert main(["validate", str(path), "-s", "env.API_KEY=planted-4", "-s", "api_key: planted-5"]) == 2
    path.write_text("schema: 1\nname: s\ndefaults: {env: {API_KEY: ['planted-6'], B_KEY: planted-7}}\n")
    assert main(["validate", str(path)]) == 2
    shown = "".join(capsys.readouterr())
    assert "(withheld)" in shown
    assert "planted" not in shown
