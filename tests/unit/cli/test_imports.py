"""What a command loads before it has anything to measure."""

import json
import os
import subprocess
import sys
from pathlib import Path

TRACKERS = ("mlflow", "wandb", "pyarrow", "prometheus_client")
HEAVY = (*TRACKERS, "torch", "torchvision", "pandas", "numpy", "scipy", "altair", "sklearn", "pynvml")

PROBE = """
import json, sys
from gpubench.cli.main import main
answers = [[main(arguments), sorted(set({heavy!r}) & set(sys.modules))] for arguments in {commands!r}]
print(json.dumps(answers), file=sys.stderr)
"""


def _loaded(commands: list[str], heavy: tuple[str, ...]) -> dict[str, list]:
    """For each of the commands, run in this order in one process: its exit status and which modules are loaded by then."""
    code = PROBE.format(commands=[command.split() for command in commands], heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stderr.splitlines()[-1]), strict=True))


def test_nothing_heavy_is_imported():
    commands = [
        "--help",
        "--version",
        "list",
        "list findings GB204",
        "list metrics",
        "list workloads",
        "validate cnn",
        "validate cnn --cases -k device=cuda",
        "validate cnn --json",
        "run --help",
        "validate --help",
        "export --help",
        "completion bash",
    ]
    assert _loaded(commands, HEAVY) == {command: [0, []] for command in commands}


def test_help_does_not_even_load_rich_or_pydantic():
    assert _loaded(["--help"], ("rich", "pydantic", "yaml")) == {"--help": [0, []]}


def test_files_of_the_working_folder_do_not_replace_the_modules_of_python(tmp_path: Path):
    for name in ("random", "statistics", "profile", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    command = [sys.executable, "-m", "gpubench", "validate", "cnn-smoke"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
