import json
from typing import Any

import pytest

from gpubench.core.errors import StoreError
from gpubench.core.records import RECORD_SCHEMA
from gpubench.store import migrate as steps_of
from gpubench.store.migrate import NewerSchema, migrate
from gpubench.store.run_info import RUN_SCHEMA
from gpubench.store.run_reader import parse_record


def memory_gets_its_unit(document: dict[str, Any]) -> dict[str, Any]:
    document["memory_bytes"] = document.pop("memory_mib") * 2**20
    return document


def tag_becomes_a_list(document: dict[str, Any]) -> dict[str, Any]:
    document["tags"] = [document.pop("tag")]
    return document


def name_becomes_label(document: dict[str, Any]) -> dict[str, Any]:
    document["label"] = document.pop("name")
    return document


STEPS = {1: memory_gets_its_unit, 2: tag_becomes_a_list}


def test_an_old_document_passes_every_step_in_order() -> None:
    old = {"schema": 1, "memory_mib": 2, "tag": "base"}
    assert migrate(old, current=3, steps=STEPS) == {"schema": 3, "memory_bytes": 2 * 2**20, "tags": ["base"]}


def test_a_document_in_between_starts_at_its_own_step() -> None:
    assert migrate({"schema": 2, "tag": "base"}, current=3, steps=STEPS) == {"schema": 3, "tags": ["base"]}


def test_a_document_of_today_is_left_alone() -> None:
    today = {"schema": 3, "tags": []}
    assert migrate(today, current=3, steps=STEPS) is today


def test_a_newer_document_is_refused_as_a_store_error() -> None:
    with pytest.raises(NewerSchema, match=r"newer gpubench \(schema 4; this one reads up to 3\)") as caught:
        migrate({"schema": 4}, current=3, steps=STEPS)
    assert isinstance(caught.value, StoreError)


@pytest.mark.parametrize("number", [None, "1", 1.0, True, 0, -1])
def test_what_is_no_number_is_refused(number: Any) -> None:
    with pytest.raises(ValueError, match=r"(no|not a) schema number"):
        migrate({} if number is None else {"schema": number}, current=3, steps=STEPS)


def test_a_gap_in_the_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="no migration from schema 2 to 3"):
        migrate({"schema": 1, "memory_mib": 1}, current=3, steps={1: memory_gets_its_unit})


@pytest.mark.parametrize(
    ("steps", "current"), [(steps_of.RUN_STEPS, RUN_SCHEMA), (steps_of.RECORD_STEPS, RECORD_SCHEMA)]
)
def test_there_is_a_step_from_every_number_there_ever_was(steps: dict[int, Any], current: int) -> None:
    assert sorted(steps) == list(range(1, current))


def test_a_record_of_an_older_number_is_brought_to_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.store.migrate.RECORD_SCHEMA", 3)
    monkeypatch.setattr("gpubench.store.run_reader.RECORD_SCHEMA", 3)
    monkeypatch.setattr("gpubench.store.migrate.RECORD_STEPS", {2: name_becomes_label})
    record = parse_record(
        b'{"schema": 2, "case_index": 1, "case_id": "a", "name": "cpu fp32", "repeat": 1, "status": "ok"}'
    )
    assert (record.schema_number, record.label) == (3, "cpu fp32")


def test_a_record_that_todays_model_would_take_as_it_is_still_passes_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.store.migrate.RECORD_SCHEMA", 3)
    monkeypatch.setattr("gpubench.store.run_reader.RECORD_SCHEMA", 3)
    monkeypatch.setattr("gpubench.store.migrate.RECORD_STEPS", {2: lambda old: {**old, "wall_s": old["wall_s"] / 1e3}})
    record = parse_record(
        b'{"schema": 2, "case_index": 1, "case_id": "a", "label": "x", "repeat": 1, "status": "ok", "wall_s": 1500}'
    )
    assert record.wall_s == 1.5


def test_the_accuracy_of_an_old_training_run_is_its_score() -> None:
    old = {"seed": 0, "epochs": 1, "learning_rate": 1e-3, "accuracy": 0.9, "precision_macro": 0.8, "recall_macro": 0.7}
    old |= {"final_loss": 0.1, "training_time_s": 2.0, "num_train": 3, "num_validation": 1, "num_test": 1}
    line = {"schema": 1, "case_index": 1, "case_id": "a", "label": "x", "repeat": 1, "status": "ok", "kind": "quality"}
    quality = old | {"validation_accuracy_per_epoch": [0.5, 0.85]}
    found = parse_record(json.dumps(line | {"quality": quality}).encode()).quality
    assert found is not None
    assert (found.score_name, found.score, found.score_better) == ("accuracy", 0.9, "higher")
    assert found.validation_score_per_epoch == (0.5, 0.85)
    assert found.all_scores == {"accuracy": 0.9, "precision_macro": 0.8, "recall_macro": 0.7}
