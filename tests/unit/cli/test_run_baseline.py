"""`gpubench run --baseline REF`: real runs of a workload that sleeps, compared with stored ones."""

import sys
from pathlib import Path

import pytest
from fakes.gate_runs import two_arms

from gpubench.cli.main import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

SUITE = """\
schema: 1
name: naps
defaults: {workload: "workloads:Sleeper", device: cpu}
matrix: {batch_size: [1]}
measure: {min_time: 50ms, max_time: 300ms, min_steps: 5, target_rel_ci: 50%, repeats: 3}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "workloads.py").write_text((Path(__file__).parents[2] / "fakes" / "workloads.py").read_text())
    (tmp_path / "naps.yaml").write_text(SUITE)
    return tmp_path / "naps.yaml"


@pytest.fixture
def run(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def call(*options: str) -> tuple[int, str, str]:
        store = str(tmp_path / "store")
        status = main(["run", str(suite), "--store", store, "--no-report", "--seed", "1", *options])
        printed = capsys.readouterr()
        return status, printed.out, " ".join(printed.err.split())

    return call


def test_a_wrong_baseline_is_refused_before_anything_is_measured(run, tmp_path: Path):
    two_arms_run = two_arms()
    two_arms_run.measured(1000.0, head=900.0, batch_size=64)
    two_arms_run.write(tmp_path / "store", "arms")
    for options, said in (
        (("--baseline", "nowhere"), "nowhere"),
        (("--baseline", "arms"), "so it cannot be one side of a comparison"),
        (("--baseline", "arms", "--json"), "gpubench compare REF @last --json"),
        (("--baseline", "arms", "--arm", "a=", "--arm", "b="), "cannot be combined with --arm"),
        (("--price", "2.5/h", "--arm", "a=", "--arm", "b="), "an hour costs the same for all arms"),
    ):
        status, out, err = run(*options)
        assert (status, out) == (2, ""), options
        assert said in err
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["arms"]
