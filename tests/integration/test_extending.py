"""The package of docs/extending.md in a real run: its workload, with the metric, finding and section it adds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.extension_package import install

import gpubench

SUITE = """
schema: 1
name: acme
defaults: {workload: "acme_bench.relu:Relu", batch_size: 8}
measure: {min_time: 50ms, max_time: 2s, min_steps: 20, repeats: 1, telemetry: off}
"""


def run_gpubench(site: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(site), str(Path(gpubench.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-m", "gpubench", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = install(tmp_path_factory.mktemp("site"))
    (folder / "acme.yaml").write_text(SUITE)
    done = run_gpubench(folder, "run", str(folder / "acme.yaml"), "--store", str(folder / "store"))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def records(site: Path) -> list[dict]:
    (file,) = (site / "store").glob("*/records.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_workloads_own_metric_and_finding_are_stored(site):
    (record,) = records(site)
    assert record["status"] == "ok"
    assert 0.4 < record["metrics"]["sparsity"] < 0.6
    assert [found["message"] for found in record["findings"] if found["code"] == "ACME101"] == [
        f"{record['metrics']['sparsity']:.0%} of the output was zero."
    ]


def test_the_report_shows_the_added_section_and_finding(site):
    done = run_gpubench(site, "report", "@last", "--store", str(site / "store"), "-o", "-")
    assert "## Sparsity" in done.stdout, done.stdout + done.stderr
    assert "ACME101" in done.stdout


def test_without_the_package_the_stored_run_is_still_shown(site):
    done = run_gpubench(Path("nowhere"), "show", "@last", "--store", str(site / "store"))
    assert done.returncode == 0, done.stderr
    assert "sparsity" not in done.stdout


def test_an_unregistered_metric_fails_the_launch_by_name(site, tmp_path):
    (tmp_path / "odd.py").write_text(
        "from acme_bench.relu import Relu\n\n\nclass Odd(Relu):\n    def metrics(self):\n        return {'unheard': 1}\n"
        "    def findings(self):\n        return ()\n"
    )
    (tmp_path / "odd.yaml").write_text(SUITE.replace("acme_bench.relu:Relu", "odd:Odd"))
    done = run_gpubench(site, "run", str(tmp_path / "odd.yaml"), "--store", str(tmp_path / "store"))
    (file,) = (tmp_path / "store").glob("*/records.jsonl")
    assert done.returncode == 3
    assert "returned unheard, which no installed package registers" in json.loads(file.read_text())["reason"]
