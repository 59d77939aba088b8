"""Arms that take turns in launches, are resumed, refused or are revisions of a package; real runs."""

import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.arm_suite import SUITE
from fakes.scripted_workers import script_the_workers
from fakes.toy_repository import ToyRepository

from gpubench.cli.run_arms import AskedArms, arms_again
from gpubench.core.records import Status
from gpubench.runner.arms.arm import make_arm
from gpubench.runner.events import Notice
from gpubench.runner.run import ResumeRequest, RunRequest, resume, start
from gpubench.runner.run_session import Decisions
from gpubench.store.run_reader import load_run
from gpubench.suite.load import parse_suite
from gpubench.suite.read.arm_text import parse_arms

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

ROOT = Path(__file__).parents[2]
FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def asked(tmp_path, arms, *, workload="workloads:Slowable", rounds=2, suite=SUITE, **fields):
    made = tuple(make_arm(text) for text in parse_arms(arms))
    return RunRequest(
        parse_suite(suite % workload),
        out=tmp_path / "run",
        seed=1,
        arms=made,
        rounds=rounds,
        search_path=(str(FAKES),),
        **fields,
    )


def measured(request, listener=None, settled=None):
    return load_run(start(request, listener, Decisions(settled=settled)).folder)


def codes(run):
    return Counter(entry.code for record in run.records for entry in record.findings)


def test_launches_in_turn_have_a_process_each_and_share_the_host_of_their_round(tmp_path):
    run = measured(asked(tmp_path, ["base", "same", "slow=set.learning_rate=25"], interleave="launch"))
    logs = {(record.arm, record.repeat): math.log(record.metrics["step_time_s"]) for record in run.records}
    for repeat in (1, 2):
        assert logs["slow", repeat] - logs["base", repeat] == pytest.approx(math.log(1.25), abs=0.1)
        assert logs["same", repeat] - logs["base", repeat] == pytest.approx(0, abs=0.1)
        mine = [record for record in run.records if record.repeat == repeat]
        assert len({record.pid for record in mine}) == 3
        assert len({record.host_pid for record in mine}) == 1
    assert run.info.interleave == "launch"
    assert all(record.block_log_ratio is None for record in run.records)


def test_an_environment_variable_reaches_its_arm_alone(tmp_path):
    run = measured(asked(tmp_path, ["base", "head=env.GPUBENCH_TEST_SLOWER=50"], rounds=1))
    times = {
        arm: [record.metrics["step_time_s"] for record in run.records if record.arm == arm] for arm in ("base", "head")
    }
    assert all(math.log(slow / fast) > 0.25 for slow, fast in zip(times["head"], times["base"], strict=True))
    assert run.info.interleave == "launch"


def test_arms_that_do_not_fit_into_one_process_are_measured_in_launches(tmp_path):
    said = []
    run = measured(asked(tmp_path, ["base", "head"], workload="workloads:Alone", rounds=1), said.append)
    assert [record.status for record in run.records] == [Status.OK] * 2
    assert codes(run)["GB106"] == 2
    assert all(record.block_log_ratio is None for record in run.records)
    assert any("take turns in separate launches" in event.hint for event in said if isinstance(event, Notice))


def test_what_a_workload_prints_is_kept_wherever_the_run_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    request = replace(asked(tmp_path, ["base", "head"], workload="workloads:Prints", rounds=1), out=Path("here"))
    run = measured(request)
    assert codes(run)["GB103"] == 2
    assert "from below" in (tmp_path / "here" / "cases" / "1" / "1.log").read_text()


def test_blocks_that_feel_what_ran_before_are_given_up_and_measured_in_launches(tmp_path):
    suite = SUITE.replace("max_time: 0.4s", "max_time: 3s").replace("min_time: 0.1s", "min_time: 2s")
    run = measured(
        asked(tmp_path, ["base", "head=set.learning_rate=2"], workload="workloads:Sticky", suite=suite, rounds=1)
    )
    assert [record.block_log_ratio for record in run.records] == [None, None]
    assert codes(run)["GB107"] == 2
    message = next(entry.message for record in run.records for entry in record.findings if entry.code == "GB107")
    assert "a block after another arm's took +" in message


def test_an_arm_that_cannot_run_is_a_row_and_ends_its_case(tmp_path):
    run = measured(asked(tmp_path, ["base", "head=set.precision=tf32"], workload="cnn", rounds=3))
    assert {record.arm: record.status for record in run.records} == {"base": Status.OK, "head": Status.UNSUPPORTED}
    assert {record.repeat for record in run.records} == {1}


def test_a_resumed_run_goes_on_with_its_arms_and_leaves_settled_cases_alone(tmp_path, monkeypatch):
    script_the_workers(monkeypatch)
    begun = measured(asked(tmp_path, ["base", "head=set.learning_rate=25"], budget_s=1e-9))
    assert {record.status for record in begun.records} == {Status.SKIPPED}

    def go_on(settled=None):
        request = ResumeRequest(begun.folder, arms=arms_again(begun.info), search_path=(str(FAKES),))
        return load_run(resume(request, decisions=Decisions(settled=settled)).folder)

    settled_at_once = go_on(lambda _case, records: any(record.status is Status.OK for record in records))
    done = [(record.arm, record.repeat) for record in settled_at_once.records if record.status is Status.OK]
    assert sorted(done) == [("base", 1), ("head", 1)]
    everything = go_on()
    assert sorted((record.arm, record.repeat) for record in everything.records if record.status is Status.OK) == [
        ("base", 1),
        ("base", 2),
        ("head", 1),
        ("head", 2),
    ]


def test_two_revisions_of_a_package_are_held_against_each_other(tmp_path, monkeypatch):
    toy = ToyRepository(tmp_path / "toyrepo")
    toy.commit(0.003)
    toy.git("tag", "before")
    toy.commit(0.005)
    toy.write(0.001)
    (toy.bench / "suite.yaml").write_text(SUITE % "toybench:Toy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [
        sys.executable,
        "-m",
        "gpubench",
        "run",
        "bench/suite.yaml",
        "--arm",
        "base=git=before",
        "--arm",
        "head=git=main",
        "--rounds",
        "6",
        "--budget",
        "1s",
        "--out",
        str(tmp_path / "run"),
        "--no-report",
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=toy.folder, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert "installing before (" in done.stderr, done.stderr
    monkeypatch.chdir(toy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    begun = load_run(tmp_path / "run")
    request = ResumeRequest(begun.folder, arms=arms_again(begun.info))
    once = Decisions(settled=lambda _case, records: any(record.status is Status.OK for record in records))
    run = load_run(resume(request, decisions=once).folder)
    times = {record.arm: record.metrics["step_time_s"] for record in run.records if record.status is Status.OK}
    assert 0.003 <= times["base"] < 0.005 <= times["head"]
    commits = [arm.given["commit"] for arm in run.info.arms]
    assert commits == [toy.git("rev-parse", name) for name in ("before", "main")]


def test_arms_are_refused_before_anything_is_measured(tmp_path, monkeypatch):
    script_the_workers(monkeypatch)
    with pytest.raises(Exception, match="one process"):
        start(asked(tmp_path, ["base", "head=env.A=1"], interleave="block"))
    assert not (tmp_path / "run").exists()


def test_options_about_arms_need_arms():
    import click

    for wrong, said in (
        (AskedArms((), "block"), "--interleave applies only to arms"),
        (AskedArms((), None, 8), "--rounds applies only to arms"),
    ):
        with pytest.raises(click.UsageError, match=said):
            wrong.check_use(repeats=None, resumed=False)
    with pytest.raises(click.UsageError, match="--repeats cannot be combined with --arm"):
        AskedArms(("a", "b")).check_use(repeats=3, resumed=False)
    with pytest.raises(click.UsageError, match="continues the arms of the run"):
        AskedArms(("a", "b")).check_use(repeats=None, resumed=True)
