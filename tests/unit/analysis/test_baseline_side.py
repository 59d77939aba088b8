import pytest
from fakes.gate_runs import ENVIRONMENT, HandMade

from gpubench.analysis.compare.baseline_side import baseline_of, baseline_side
from gpubench.analysis.compare.compare_sides import compare_sides, refuse
from gpubench.analysis.compare.run_sides import side_of
from gpubench.core.records import Status
from gpubench.store.baselines import read_baseline, write_baseline
from gpubench.store.run_reader import load_run


def a_run(tmp_path, name="one", rate=1000.0, extra=()):
    made = HandMade(environment=ENVIRONMENT)
    made.measured(rate, device="cuda", batch_size=8)
    lost = made.plan(device="cuda", batch_size=16)
    made.ended(lost, Status.OOM, "out of memory in warmup")
    for batch_size in extra:
        made.measured(rate, device="cuda", batch_size=batch_size)
    return load_run(made.write(tmp_path, name))


def kept(run, tmp_path, **changes):
    path = tmp_path / "machine" / "fake.json"
    write_baseline(path, baseline_of(run, created="2026-11-24T10:00:00Z", **{"reason": "first", **changes}))
    return read_baseline(path)


def test_a_run_against_its_own_baseline_is_the_same_in_everything(tmp_path):
    run = a_run(tmp_path)
    compared = compare_sides(baseline_side(kept(run, tmp_path)), side_of(run, "one"), ("throughput", "energy_j"))
    refuse(compared)
    assert compared.differences == ()
    assert [(change.kind, change.label) for change in compared.changes] == [
        ("measured", "cuda 8"),
        ("not_measured", "cuda 16"),
    ]
    assert compared.changes[0].changes["throughput"].judgement == "same"


def test_a_baseline_keeps_launches_statuses_settings_and_what_took_effect(tmp_path):
    baseline = kept(a_run(tmp_path), tmp_path)
    measured, lost = baseline.cases
    assert len(measured.metrics["throughput"]) == 10
    assert measured.settings == {"device": "cuda", "batch_size": 8}
    assert measured.effective["math.cudnn.conv"] == "ieee"
    assert (lost.status, lost.reason, lost.metrics) == (Status.OOM, "out of memory in warmup", {})
    assert baseline.machine == "nvidia-imaginary-80gb"
    assert baseline.environment["gpu0.name"] == "NVIDIA Imaginary 80GB"


def test_the_history_tells_why_a_baseline_became_what_it_is(tmp_path):
    first = kept(a_run(tmp_path), tmp_path)
    second = kept(a_run(tmp_path, "two"), tmp_path, reason="more memory", before=first)
    assert [(entry.run, entry.reason, entry.commit) for entry in second.history] == [
        ("one", "first", "0123456789ab"),
        ("two", "more memory", "0123456789ab"),
    ]


def test_cases_that_a_run_did_not_measure_keep_what_was_there(tmp_path):
    first = kept(a_run(tmp_path, extra=(32,)), tmp_path)
    second = kept(a_run(tmp_path, "two", rate=2000.0), tmp_path, before=first)
    assert [case.label for case in second.cases] == ["cuda 8", "cuda 16", "cuda 32"]
    assert second.cases[0].metrics["throughput"][0] == pytest.approx(2000.0)
    assert second.cases[2].metrics["throughput"][0] == pytest.approx(1000.0)
