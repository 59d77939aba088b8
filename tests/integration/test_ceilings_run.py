"""Ceilings, a path and the largest batch, from a suite file to the stored run and its report, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.analysis.insight.ablation import waterfall
from gpubench.analysis.summary.measured_ceilings import CPU
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Status
from gpubench.machine import machine_cache
from gpubench.store.run_reader import load_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

ROOT = Path(__file__).parents[2]

CEILINGS = """\
schema: 1
name: ceilings
defaults: {workload: operators:matmul, mode: infer, batch_size: 1, cpu_threads: 1}
matrix: {shape: [384]}
include:
  - {workload: operators:conv2d, shape: 32x16x32x3, batch_size: 8, mode: train}
  - {workload: operators:copy, shape: 8MiB}
  - {workload: operators:launch, batch_size: 200}
measure: {min_time: 0.1s, max_time: 0.6s, min_steps: 10, target_rel_ci: 50%, repeats: 1}
contest: off
"""
STEPS = """\
schema: 1
name: steps
defaults: {workload: cnn, image_size: 12, batch_size: 8, optimizer: adam, cpu_threads: 1}
path:
  - {fused: true}
  - {precision: tf32}
  - {precision: fp32, memory_format: NHWC}
  - {batch_size: 64}
include:
  - {workload: "fits:FitsFive", batch_size: max}
measure: {min_time: 0.1s, max_time: 0.6s, min_steps: 10, target_rel_ci: 50%, repeats: 2}
contest: off
"""
FITS_FIVE = """\
class FitsFive:
    def build(self, case, device):
        if case.batch_size > 5:
            raise MemoryError("six is too many")
        return lambda: sum(range(10_000))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The two runs, one after the other with a cache folder of their own, and that folder."""
    folder = tmp_path_factory.mktemp("ceilings")
    (folder / "fits.py").write_text(FITS_FIVE)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    screens = {}
    for name, suite in (("ceilings", CEILINGS), ("steps", STEPS)):
        (folder / f"{name}.yaml").write_text(suite)
        done = subprocess.run(
            [sys.executable, "-m", "gpubench", "run", f"{name}.yaml", "--out", name, "--seed", "1"],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        screens[name] = done.stdout
    return {name: summarise_run(load_run(folder / name)) for name in screens}, screens, folder / "cache" / "gpubench"


def cases(summary, workload):
    return [entry for entry in summary.cases if entry.case.workload == workload]


def test_a_run_of_operators_leaves_the_ceilings_of_this_cpu(runs):
    summaries, screens, cache = runs
    (kept,) = machine_cache.known_ceilings([CPU], cache / "ceilings").values()
    kinds = {(each["quantity"], each["precision"], each["threads"]): each["value"]["value"] for each in kept}
    assert set(kinds) == {("flops", "fp32", 1), ("memory", None, 1), ("launch", None, 1)}
    arithmetic = [
        entry.metrics["achieved_flops"].value
        for entry in summaries["ceilings"].cases
        if "flops_per_sample" in entry.metrics
    ]
    assert kinds["flops", "fp32", 1] == max(arithmetic)
    assert "Measured ceilings" in screens["ceilings"]
    assert all(entry.correctness == "pass" for entry in summaries["ceilings"].cases)


def test_the_next_run_on_it_has_an_mfu_of_at_most_one(runs):
    summaries, screens, _ = runs
    summary = summaries["steps"]
    shares = [entry.metrics["mfu"].value for entry in cases(summary, "cnn") if entry.status is Status.OK]
    assert len(shares) > 5
    assert all(0 < share <= 1 for share in shares)
    assert summary.info.environment["ceilings"][CPU]
    assert "Against the measured ceilings" in screens["steps"]


def test_the_steps_of_a_path_multiply_to_the_whole(runs):
    summaries, screens, _ = runs
    found = waterfall(summaries["steps"])
    assert [list(stage.changes) for stage in found.stages] == [["fused"], ["memory_format"], ["batch_size"]]
    assert [list(each.changes) for each in found.left_out] == [["precision"]]
    assert found.product == pytest.approx(found.whole.value, rel=1e-9)
    assert "What each step bought" in screens["steps"]
    assert "TF32 is a mode of NVIDIA's tensor cores" in screens["steps"]


def test_every_launch_runs_the_largest_batch_that_the_first_one_found(runs):
    summaries, _, _ = runs
    (entry,) = cases(summaries["steps"], "fits:FitsFive")
    assert [record.effective.batch_size for record in entry.records] == [5, 5]
    assert [record.window.num_samples / record.window.num_steps for record in entry.records] == [5, 5]
    assert ["largest_batch" in record.effective.extra for record in entry.records] == [True, False]
    assert entry.metrics["largest_batch"].value == 5
    assert json.loads(json.dumps(entry.records[0].effective.extra["largest_batch"]))["next_fails_with"]
