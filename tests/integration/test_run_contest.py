"""A real suite whose cases take turns in one process after their launches."""

import json
import math
from pathlib import Path

import pytest

import gpubench
from gpubench.analysis.insight.factor_effects import factor_effects
from gpubench.cli.main import main

SUITE = """\
schema: 1
name: turns
defaults: {workload: "workloads:Sleeper", device: cpu}
matrix: {batch_size: [1, 4]}
measure: {min_time: 50ms, max_time: 300ms, min_steps: 5, target_rel_ci: 50%, repeats: 1, telemetry: off, parity: false}
contest: {budget: 10m}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turns")
    (folder / "turns.yaml").write_text(SUITE)
    (folder / "workloads.py").write_text((Path(__file__).parents[1] / "fakes" / "workloads.py").read_text())
    assert main(["run", str(folder / "turns.yaml"), "--out", str(folder / "run"), "--no-report"]) == 0
    return folder / "run"


def test_an_effect_comes_from_the_turns_of_three_processes_or_more(folder):
    run = gpubench.load_run(folder)
    assert len({each.host_pid for each in run.contests}) == len(run.contests) >= 3
    assert {each.status.value for each in run.contests} == {"ok"}
    (effect,) = factor_effects(run.summary().cases)
    assert (effect.factor, effect.ratio.n) == ("batch_size", len(run.contests))
    assert effect.verdict in ("faster", "unclear")
    assert math.log(effect.ratio.value) == pytest.approx(math.log(4), abs=0.4)  # it sleeps as long for four samples


def test_the_page_and_the_document_say_how_far_a_case_is_from_itself(folder, capsys):
    assert main(["show", str(folder)]) == 0
    assert "one case against itself (A/A)" in " ".join(capsys.readouterr().out.split())
    assert main(["show", str(folder), "--json"]) == 0
    (contest,) = json.loads(capsys.readouterr().out)["contests"]
    assert contest["first"] == 1
    assert abs(math.log(contest["itself"]["value"])) < 0.4
    assert [each["setting"] for each in contest["effects"]] == ["batch_size"]
