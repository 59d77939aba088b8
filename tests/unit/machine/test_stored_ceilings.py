import json
from pathlib import Path

import pytest

from gpubench.core.anonymity import anonymise
from gpubench.machine import environment, host_facts, machine_cache

UUID = "GPU-11111111-2222-3333-4444-555555555555"


def ceiling(value, quantity="flops", precision="bf16", threads=None, **conditions):
    return {
        "quantity": quantity,
        "precision": precision,
        "threads": threads,
        "value": {"value": value},
        "conditions": {"driver": "580.0", **conditions},
    }


def test_what_was_measured_is_there_for_the_next_run(tmp_path):
    path = machine_cache.remember_ceilings(UUID, [ceiling(7e14), ceiling(3e12, "memory", None)], tmp_path)
    assert path.parent == tmp_path
    assert machine_cache.known_ceilings([UUID, "GPU-other"], tmp_path) == {
        UUID: [ceiling(7e14), ceiling(3e12, "memory", None)]
    }


def test_under_the_same_conditions_the_higher_stays():
    assert machine_cache.merged_ceilings([ceiling(7e14)], [ceiling(6e14)]) == [ceiling(7e14)]
    assert machine_cache.merged_ceilings([ceiling(6e14)], [ceiling(7e14)]) == [ceiling(7e14)]


def test_under_other_conditions_the_newer_replaces_a_higher_one():
    lowered = ceiling(5e14, power_limit_w=500.0)
    assert machine_cache.merged_ceilings([ceiling(7e14)], [lowered]) == [lowered]


def test_kinds_do_not_replace_each_other():
    kinds = [ceiling(1.0), ceiling(2.0, precision="fp32"), ceiling(3.0, threads=2), ceiling(4.0, "launch", None)]
    assert machine_cache.merged_ceilings(kinds[:2], kinds[2:]) == kinds


def test_the_file_belongs_to_the_card_and_a_cpus_to_its_model(tmp_path):
    machine_cache.remember_ceilings(UUID, [ceiling(1.0)], tmp_path)
    machine_cache.remember_ceilings(machine_cache.CPU, [ceiling(1.0, threads=2)], tmp_path)
    stored = [json.loads(path.read_text())["identity"] for path in tmp_path.iterdir()]
    assert {"kind": "gpu", "uuid": UUID} in stored
    assert {"kind": "cpu", "model": host_facts.cpu()["model"]} in stored


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1, "facts": {"ceilings": [1, {}, {"value": 2}]}}'])
def test_a_spoiled_file_holds_nothing(tmp_path, content):
    path = machine_cache.remember_ceilings(UUID, [ceiling(1.0)], tmp_path)
    path.write_text(content)
    assert machine_cache.known_ceilings([UUID], tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert machine_cache.remember_ceilings(UUID, [ceiling(1.0)], blocked / "inside") is None


def test_a_run_takes_the_ceilings_of_its_devices_with_it(monkeypatch, cache_folder: Path):
    monkeypatch.setattr("gpubench.machine.environment._read_gpus", lambda: ({"driver": "580.0"}, [{"uuid": UUID}]))
    machine_cache.remember_ceilings(UUID, [ceiling(7e14)])
    machine_cache.remember_ceilings(machine_cache.CPU, [ceiling(6e10, threads=2)])
    assert (cache_folder.parent / "ceilings").is_dir()
    assert environment.collect({})["ceilings"] == {
        "cpu": [ceiling(6e10, threads=2)],
        UUID: [ceiling(7e14)],
    }
    assert set(environment.collect({}, anonymous=True)["ceilings"]) == {"cpu", anonymise(UUID)}
