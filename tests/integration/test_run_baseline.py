"""`gpubench run --baseline REF`: real runs of a workload that sleeps, compared with a stored one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only"), pytest.mark.slow]

FAKES = Path(__file__).parents[1] / "fakes"
SUITE = """\
schema: 1
name: naps
defaults: {workload: "workloads:Sleeper", device: cpu}
matrix: {batch_size: [1]}
measure: {min_time: 50ms, max_time: 300ms, min_steps: 5, target_rel_ci: 50%, repeats: 1}
contest: off
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Runs the suite with options, beside a stored run of it that is called `before`."""
    folder = tmp_path_factory.mktemp("naps")
    (folder / "workloads.py").write_text((FAKES / "workloads.py").read_text())
    (folder / "naps.yaml").write_text(SUITE)

    def call(*options: str) -> tuple[int, str, str]:
        command = [
            sys.executable,
            "-m",
            "gpubench",
            "run",
            "naps.yaml",
            "--store",
            "store",
            "--no-report",
            "--seed",
            "1",
        ]
        environ = {**os.environ, "PYTHONPATH": str(FAKES.parents[1])}
        done = subprocess.run(
            [*command, *options], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=200
        )
        return done.returncode, done.stdout, " ".join(done.stderr.split())

    assert call("--tag", "before")[0] == 0
    return call


def test_a_run_is_compared_with_the_one_before(run):
    status, out, _ = run("--baseline", "@last", "--tag", "after")
    assert status == 0
    compared = out[out.index("against") :]
    assert "(before)" in compared.splitlines()[0]
    assert "1 case in common" in compared
    assert "Speed: " in compared
    assert compared.index("Summary") < compared.index("Next ")


def test_a_baseline_that_has_nothing_in_common_is_a_note_below_a_run_that_is_stored(run):
    status, out, err = run("--baseline", "before", "-s", "batch_size=2")
    assert status == 0
    assert "note: not compared with the baseline:" in err
    assert "have no case in common" in err
    assert "Run     " in out
