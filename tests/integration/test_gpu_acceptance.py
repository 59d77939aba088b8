"""The acceptance script on this machine: with a device or without, within a tiny budget, interrupted and gone on with."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu_acceptance.sh"

TINY = """\
schema: 1
name: {name}
defaults: {{data: digits}}
matrix: {{mode: [train], device: [cpu, cuda], precision: [fp32, amp-bf16], batch_size: [64]}}
measure: {{min_time: 0.1s, max_time: 0.5s, target_rel_ci: 50%, repeats: 1, parity: false}}
"""


def _script(folder, *arguments):
    done = subprocess.run(
        ["bash", str(SCRIPT), "--out", str(folder / "out"), "--suites", str(folder / "suites"), "--python", sys.executable, *arguments],
        capture_output=True, text=True, timeout=280, check=False, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    rows = {line[:12].strip(): line for line in (folder / "out" / "table.txt").read_text().splitlines()}
    return done, rows


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "suites").mkdir()
    for name in ("cnn", "roofline", "ablation", "inference", "resnet50"):
        (tmp_path / "suites" / f"{name}.yaml").write_text(TINY.format(name=name))
    return tmp_path


def test_it_runs_to_its_end_within_a_tiny_budget_and_goes_on_where_it_was_stopped(folder):
    done, rows = _script(folder, "--budget", "0.25")
    assert done.returncode == 0, done.stderr
    assert "ok" in rows["cnn"]
    if "no CUDA device" in done.stdout:
        for part in ("tests", "ablation", "resnet50"):
            assert "skipped" in rows[part]
            assert "no CUDA device" in rows[part]
    assert "left out" in rows["inference"], "a budget of 15 s does not last for everything"

    done, rows = _script(folder, "--budget", "1.5")
    assert done.returncode == 0, done.stderr
    assert "done" in rows["cnn"]
    assert "failed" not in "".join(rows.values()), rows
    assert "ok" in rows["roofline"]

    with tarfile.open(folder / "out" / "gpu-acceptance.tar.gz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    run = folder / "unpacked" / "runs" / "cnn"
    for command in (["show", str(run)], ["report", str(run), "-o", "-"]):
        shown = subprocess.run(
            [sys.executable, "-m", "gpubench", *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
        assert shown.returncode == 0, shown.stderr
        assert "samples/s" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--budget", "soon"), "--budget takes minutes"), (("--fast",), "unknown option --fast")]
)
def test_wrong_use_exits_with_2(folder, arguments, said):
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, cwd=folder, check=False, timeout=30
    )
    assert done.returncode == 2
    assert said in done.stderr
