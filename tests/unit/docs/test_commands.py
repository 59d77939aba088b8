"""Every command of README, guide, CI, A/B, profiling and sinks pages, run in the order of its page in an empty folder.

Workers answer from a script, so nothing is measured and no GPU is needed; what would start a profiler is a dry run.
"""

import io
import re
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from fakes.reports import draw_nothing
from fakes.scripted_workers import script_the_workers

from gpubench.cli.main import main
from gpubench.machine.doctor import examination
from gpubench.runner.arms.arm import Arm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", *(f"docs/{name}.md" for name in ("guide", "ci", "ab", "profiling", "history", "sinks", "index")))
TRACE = "docs/traces/bf16-no-faster.json"
STANDS_FOR = {  # what a page leaves to its reader
    "SUITE -k 'precision=amp-bf16 and batch_size=64'": "cnn -k 'device=cpu and mode=train and precision=amp-bf16'",
    "SUITE --case ID": "cnn --case 2f76b4674d",
    "FILE --step train_step": f"{TRACE} --step step",
    "FILE --process 4711": f"{TRACE} --process 100",
    "read FILE": f"read {TRACE}",
    "RUN:CASE": "before:1",
    "/var/lib/node_exporter/": "",
    "/shared/*/reports --db postgresql+psycopg://bench@db/runs": "reports --db sqlite:///runs.db",
}
SKIPPED = {
    "gpubench profile read": "a name",
    "gpubench export --to mlflow:sqlite:///mlflow.db": "needs MLflow: tests/unit/report/test_trackers.py",
    "gpubench export --to mlflow:http://tracking.example:5000": "needs a server",
    "gpubench export --to wandb:my-project": "needs wandb: tests/unit/report/test_trackers.py",
    "gpubench check head --against base --format pytest-benchmark": "tests/integration/test_ci_examples.py has the files",
    "gpubench profile read mine.nsys-rep": "needs the report of a real nsys",
    "gpubench compare @last --why": "profiles: tests/integration/test_why.py does it with real workers",
    "gpubench check @last --gate throughput=3% --why": "profiles, as compare does",
    "gpubench compare @last~1 @last --db sqlite:///reports/gpubench.db": "the page has one run; tests/unit/cli does it",
    "gpubench compare perf -v": "reads what a CI job left; tests/integration/test_ci_examples.py runs such jobs",
}
IN_A_REPOSITORY = "gpubench bisect "
"""Needs a repository: tests/unit/cli/test_bisect.py has one."""

SUITE = """
schema: 1
name: {name}
defaults: {{data: digits, device: cpu}}
matrix: {{precision: [fp32, amp-bf16], batch_size: [8, 64]}}
"""


class Ran(NamedTuple):
    command: str
    status: int
    out: str
    err: str


def commands_of(page: str) -> list[str]:
    """Lines of code blocks, then what stands within sentences; comments and explanations beside them taken away.

    Within sentences a name alone (`gpubench compare`) or a form (`gpubench check RUN`) is no command.
    """
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^(?: {4}|\$ | {4}\$ )(gpubench .*)$", text, re.MULTILINE)
    said = [line.replace("\n", " ") for line in re.findall(r"`(gpubench [^`]+)`", text)]
    said = [line for line in said if len(line.split()) > 2 and not re.search(r"(?<![=@])\b[A-Z]{1,5}\b|\.\.\.", line)]
    found = [re.sub(r"\s+#.*$|\s{3,}[a-z.].*$", "", line).strip() for line in [*lines, *said]]
    commands = dict.fromkeys(re.sub(r"\s+", " ", line) for line in found)
    return [each for each in commands if each not in SKIPPED and not each.startswith(IN_A_REPOSITORY)]


def literal(command: str) -> str:
    for placeholder, meant in STANDS_FOR.items():
        command = command.replace(placeholder, meant)
    captures = command.startswith("gpubench profile") and " read " not in command
    needs_gpu = "device=cuda" in command and "--dry-run" not in command
    return f"{command} --dry-run" if captures or needs_gpu else command


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The commands of each page with what they said."""
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        script_the_workers(patch)
        draw_nothing(patch)
        patch.setenv("COLUMNS", "100")
        patch.setattr(examination, "_torch_facts", dict)
        patch.setattr(examination, "_host_facts", lambda *_: None)
        for place in ("runner.check_workloads", "cli.screens.dry_run_screen"):
            patch.setattr(f"gpubench.{place}.unusable_workloads", lambda *_, **__: {})
        patch.setattr("gpubench.runner.arms.arm.make_arm", lambda text, _: Arm(text.name, settings=text.settings))
        for page in PAGES:
            folder = tmp_path_factory.mktemp("empty")
            patch.chdir(folder)
            (folder / "suites").mkdir()
            for name in ("mine", "perf"):
                (folder / "suites" / f"{name}.yaml").write_text(SUITE.format(name=name))
            (folder / "my.yaml").write_text(
                re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)[0]
            )
            (folder / "mymodel.py").write_text("class Net: ...\n")
            (folder / TRACE).parent.mkdir(parents=True)
            shutil.copy(ROOT / TRACE, folder / TRACE)
            if page == "docs/profiling.md":
                run("gpubench run cnn-smoke --tag before --no-report")
            results[page] = [run(command) for command in commands_of(page)]
    return results


def run(command: str) -> Ran:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main(shlex.split(literal(command))[1:])
    return Ran(command, status, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in commands_of(page)])
def test_a_command_of_the_documentation_works_in_an_empty_folder(ran, page, command):
    (done,) = [each for each in ran[page] if each.command == command]
    assert done.status == 0, f"{literal(command)}\n{done.out[-2000:]}\n{done.err[-2000:]}"
    # What `stat` prints stays out of the program's stdout.
    assert done.err if command.startswith("gpubench stat ") else done.out


def test_a_trace_is_explained_as_the_page_shows_it(ran):
    (shown,) = re.findall(r"```text\n(Profile\n.*?)```", (ROOT / "docs/profiling.md").read_text(), re.DOTALL)
    (said,) = [each.out for each in ran["docs/profiling.md"] if each.command == f"gpubench profile read {TRACE}"]
    assert [line.strip() for line in said.splitlines()] == [line.strip() for line in shown.splitlines()]


@pytest.mark.parametrize(
    ("page", "command", "said"),
    [
        ("README.md", "gpubench compare @last~1 @last", "(before)"),
        ("README.md", "gpubench check @last --gate throughput=3%", "PASS"),
        ("README.md", "gpubench run cnn -k 'mode=train' -n", "Nothing ran."),
        ("docs/guide.md", "gpubench show @last:3", "gpubench run"),
        ("docs/guide.md", "gpubench check ab --gate throughput=3%", "PASS"),
        ("docs/ci.md", "gpubench check @last --update", "Baseline written: suites/baselines/"),
    ],
)
def test_a_command_says_what_its_page_says(ran, page, command, said):
    (done,) = [each for each in ran[page] if each.command == command]
    assert said in done.out
