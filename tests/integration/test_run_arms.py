"""Arms against each other, for real: a known slow-down is found, the same thing is never called slower."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fakes.arm_suite import SUITE

from gpubench.store.run_reader import load_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

ROOT = Path(__file__).parents[2]
FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The command: one arm that is the reference again, one that sleeps a quarter longer; alternating in one process."""
    folder = tmp_path_factory.mktemp("arms")
    (folder / "suite.yaml").write_text(SUITE % "workloads:Slowable")
    (folder / "workloads.py").write_text((FAKES / "workloads.py").read_text())
    command = [
        sys.executable,
        "-m",
        "gpubench",
        "run",
        "suite.yaml",
        "--arm",
        "base",
        "--arm",
        "same=",
        "--arm",
        "slow=set.learning_rate=25",
        "--rounds",
        "5",
        "--out",
        "run",
        "--seed",
        "1",
        "--no-report",
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done, load_run(folder / "run")


def test_a_slow_down_is_found_and_the_same_arm_is_never_called_slower(judged):
    from gpubench.analysis.compare.compare_sides import compare_sides
    from gpubench.analysis.compare.run_sides import arm_sides

    _, run = judged
    reference, (same, slow) = arm_sides(run)
    (found,) = compare_sides(reference, slow, ("throughput",)).changes
    assert found.changes["throughput"].comparison.verdict == "slower"
    assert found.changes["throughput"].comparison.level == "block"
    assert found.changes["throughput"].comparison.ratio == pytest.approx(1.25, abs=0.08)
    (found,) = compare_sides(reference, same, ("throughput",)).changes
    assert found.changes["throughput"].comparison.verdict in ("same", "unclear")


def test_the_log_shows_the_verdict_forming_and_the_screen_the_verdict(judged):
    done, _ = judged
    assert "slow vs base throughput -" in done.stderr
    assert "undecided, round 3 (looked at after 5)" in done.stderr
    assert "slower, round 5" in done.stderr
    assert "slow against base" in done.stdout
    assert "Speed: 1 slower of 1 case." in done.stdout
    assert "same against base" in done.stdout
    assert "gpubench check run " in done.stdout


def test_every_round_holds_every_arm_once_in_a_process_and_host_of_its_own(judged):
    _, run = judged
    assert Counter((record.arm, record.repeat) for record in run.records) == Counter(
        {(arm, repeat): 1 for arm in ("base", "same", "slow") for repeat in range(1, 6)}
    )
    for name in ("host_pid", "pid"):
        seen = {record.repeat: getattr(record, name) for record in run.records}
        assert len(set(seen.values())) == 5
        assert all(seen[record.repeat] == getattr(record, name) for record in run.records)
    assert all((record.block_log_ratio is not None) == (record.arm != "base") for record in run.records)


def test_the_run_remembers_its_arms_and_how_they_took_turns(judged):
    _, run = judged
    assert [arm.name for arm in run.info.arms] == ["base", "same", "slow"]
    assert run.info.arms[2].given == {"set.learning_rate": "25"}
    assert (run.info.interleave, run.info.repeats, run.info.screen_rounds) == ("block", 5, None)


def test_check_fails_the_slow_arm_and_passes_the_same_one(judged):
    _, run = judged
    for arm, status in (("slow", 1), ("same", 0)):
        command = [sys.executable, "-m", "gpubench", "check", str(run.folder), "--arm", arm, "--json"]
        done = subprocess.run(
            command,
            cwd=run.folder.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert json.loads(done.stdout)["status"] == status
