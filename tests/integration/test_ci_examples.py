"""The examples of docs/ci.md and the steps of action.yml, run in a shell with stand-ins for what installs and measures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes.junit_schema import validate_junit

from gpubench.cli.commands import check, compare, run
from gpubench.suite.model.suite import Gate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
WORKFLOWS = {block["name"]: block for block in BLOCKS if "jobs" in block}
(GITLAB,) = [block["performance"] for block in BLOCKS if "performance" in block]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Runs a script as a CI does, in a repository of one commit; returns status and stdout. `shell.log()` lists what
    was called.
    """
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("gpubench", "python"):
        stub = stubs / name
        stub.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/fakes/ci_gpubench.py" {name} "$@"\n')
        stub.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(work)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.chdir(work)
    env = {
        "PATH": f"{stubs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "HOME": str(tmp_path),
        "CI_LOG": str(tmp_path / "log"),
        "CI_STUBS": str(stubs),
        "BASE": commit,
        "HEAD": commit,
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }

    def run(script: str, **extra: str) -> tuple[int, str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = subprocess.run(command, env={**env, **extra}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    run.log = lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    run.summary = lambda: (tmp_path / "summary.md").read_text()
    run.output = lambda: (tmp_path / "output").read_text()
    return run


def steps(workflow: str) -> list[str]:
    (job,) = WORKFLOWS[workflow]["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def run_all(shell, scripts, **extra):
    """Steps until one fails, as a CI runs them."""
    for script in scripts:
        status, said = shell(script, **extra)
        if status:
            return status, said
    return 0, said


@pytest.mark.parametrize("scripts", [steps("performance"), GITLAB["script"]], ids=["github", "gitlab"])
class TestBaseAndHead:
    def test_no_regression_passes(self, shell, scripts):
        status, said = run_all(shell, scripts)
        assert status == 0, said
        assert "PASS" in said
        assert [call[:2] for call in shell.log()] == [["python", "-m"], ["gpubench", "run"], ["gpubench", "check"]]
        assert validate_junit(Path("perf/junit.xml").read_text()).get("failures") == "0"

    def test_a_regression_fails_with_summary_annotation_and_junit(self, shell, scripts):
        status, said = run_all(shell, scripts, HEAD_RATE="900")
        assert status == 1
        assert "confirmed in 10 fresh rounds" in said
        assert "::error title=gpubench%3A throughput::" in said
        assert "FAIL" in shell.summary()
        assert validate_junit(Path("perf/junit.xml").read_text()).get("failures") == "2"
        assert json.loads(Path("perf/gate.json").read_text())["passed"] is False

    def test_crashed_cases_are_left_to_the_gate(self, shell, scripts):
        assert run_all(shell, scripts, RUN_STATUS="3")[0] == 0

    def test_a_run_that_did_not_come_about_fails(self, shell, scripts):
        assert run_all(shell, scripts, RUN_STATUS="2")[0] != 0


@pytest.mark.parametrize(("rate", "status"), [("1000", 0), ("900", 1)])
def test_files_of_pytest_benchmark_made_in_turn_are_judged_as_rounds(shell, rate, status):
    found, said = run_all(shell, steps("performance of tests"), HEAD_RATE=rate)
    assert found == status, said
    assert "interleaved launches, paired by round" in said
    assert validate_junit(Path("out/junit.xml").read_text()).get("failures") == str(status)


class TestAction:
    def run(self, shell, *, inputs=None, **extra):
        values = {name: str(entry.get("default", "")) for name, entry in ACTION["inputs"].items()}
        values |= {"suite": "suites/perf.yaml", "base": "abc", "head": "def", **(inputs or {})}
        for step in ACTION["runs"]["steps"]:
            env = {name: self.filled(text, values) for name, text in step["env"].items()}
            status, said = shell(step["run"], **{**env, **extra})
            if status:
                return status, said
        return status, said

    @staticmethod
    def filled(text, values):
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text).replace(
            "${{ github.action_path }}", str(ROOT)
        )

    def test_every_input_is_used_and_every_one_used_is_declared(self):
        used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(ACTION["runs"])))
        assert used == set(ACTION["inputs"])

    def test_no_expression_stands_inside_a_script(self):
        """What a pull request is called must not become a part of a command."""
        assert not any("${{" in step["run"] for step in ACTION["runs"]["steps"])

    def test_it_passes_and_says_so(self, shell):
        status, said = self.run(shell)
        assert status == 0, said
        assert shell.output() == "status=0\n"
        run = next(call for call in shell.log() if call[:2] == ["gpubench", "run"])
        assert run[2:] == [
            "suites/perf.yaml",
            "--arm",
            "base=git=abc",
            "--arm",
            "head=git=def",
            "--rounds",
            "24",
            "--out",
            "gpubench-gate",
        ]

    def test_it_fails_on_a_regression_unless_that_is_accepted(self, shell):
        status, said = self.run(shell, HEAD_RATE="900")
        assert (status, shell.output()) == (1, "status=1\n")
        assert "confirmed" in said
        status, said = self.run(shell, inputs={"accept": "label", "folder": "second"}, HEAD_RATE="900")
        assert status == 0, said

    def test_gates_and_options_come_one_a_line(self, shell):
        inputs = {"gates": "throughput=20%\nstatus=oom\n", "run-args": "-k\nbatch_size>=64 and device=cuda\n"}
        status, said = self.run(shell, inputs=inputs, HEAD_RATE="900")
        assert status == 0, said
        calls = shell.log()
        assert calls[1][-2:] == ["-k", "batch_size>=64 and device=cuda"]
        assert calls[2][-4:] == ["--gate", "throughput=20%", "--gate", "status=oom"]

    def test_a_hostile_input_stays_one_argument(self, shell):
        hostile = "$(touch owned); `touch owned`"
        self.run(shell, inputs={"base": hostile, "accept": hostile})
        assert not Path("owned").exists()
        assert shell.log()[1][4] == f"base=git={hostile}"


def test_the_example_with_the_action_gives_inputs_that_it_has():
    (job,) = WORKFLOWS["performance (action)"]["jobs"].values()
    (step,) = [step for step in job["steps"] if "gpubench@" in step.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_the_gates_of_the_page_are_gates_of_a_suite():
    (block,) = [block for block in BLOCKS if "gates" in block]
    assert [Gate.model_validate(gate).metric for gate in block["gates"]].count("throughput") == 2


@pytest.mark.parametrize("command", [check.command, compare.command, run.command], ids=["check", "compare", "run"])
def test_options_that_the_page_names_are_options_of_the_command(command):
    known = {name for param in command.params for name in param.opts}
    said = re.findall(rf"gpubench {command.name} ([^`\n]*)", PAGE)
    assert said
    for text in said:
        used = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", text.partition("||")[0]))
        assert used <= known, text
