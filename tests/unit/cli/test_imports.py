"""What a command loads before it has anything to measure."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "pandas", "numpy", "scipy", "altair", "sklearn", "pynvml")

PROBE = """
import json, sys
from gpubench.cli.main import main
status = main({arguments!r})
print(json.dumps([status, sorted(set({heavy!r}) & set(sys.modules))]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "findings", "GB204"],
        ["list", "metrics"],
        ["list", "workloads"],
        ["validate", "cnn"],
        ["validate", "cnn", "--cases", "-k", "device=cuda"],
        ["validate", "cnn", "--json"],
        ["run", "--help"],
        ["validate", "--help"],
        ["completion", "bash"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments):
    code = PROBE.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    status, loaded = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    assert loaded == []


def test_help_does_not_even_load_rich_or_pydantic():
    code = PROBE.format(arguments=["--help"], heavy=("rich", "pydantic", "yaml"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]
