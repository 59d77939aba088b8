import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.runs import Invented, cpu_run, invented_run

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.render.json_document import run_document, sides_text, to_json

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "run-document-1.json").read_text())


def document_of(run: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(to_json(run_document(summarise_run(run), folder="reports/x")))
    return loaded


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("run", [invented_run(), invented_run(repeats=1), cpu_run()], ids=["gpu", "one launch", "cpu"])
def test_a_document_follows_its_schema(run: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document_of(run))


def test_a_broken_document_does_not_follow_it() -> None:
    document = document_of(invented_run())
    document["cases"][0]["metrics"]["throughput"].pop("n")
    with pytest.raises(jsonschema.ValidationError, match="'n' is a required property"):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_a_figure_has_value_interval_count_and_unit() -> None:
    figure = document_of(invented_run())["cases"][0]["metrics"]["throughput"]
    assert sorted(figure) == ["high", "low", "n", "unit", "value"]
    assert figure["low"] < figure["value"] < figure["high"]
    assert (figure["n"], figure["unit"]) == (3, "samples/s")


def test_one_launch_has_no_interval() -> None:
    figure = document_of(invented_run(repeats=1))["cases"][0]["metrics"]["throughput"]
    assert (figure["low"], figure["high"], figure["n"]) == (None, None, 1)


def test_what_was_not_measured_is_absent_with_its_reason() -> None:
    case = document_of(cpu_run())["cases"][0]
    assert "mean_power_w" not in case["metrics"]
    assert case["absent"]["mean_power_w"] == "no NVIDIA driver"


def test_every_planned_case_is_there_with_how_it_ended() -> None:
    cases = document_of(invented_run())["cases"]
    assert [case["index"] for case in cases] == list(range(1, 18))
    assert {case["status"] for case in cases} == {"ok", "oom", "failed", "skipped", "unsupported"}
    assert cases[9]["failure"]["requested_bytes"] == 12 * 2**30


def test_there_is_no_nan_in_it() -> None:
    made = Invented()
    made.measured("cpu fp32", 900.0, extra={"final_loss": math.nan}, device="cpu", data="digits")
    run = made.run(environment={"weird": [math.inf, {"x": math.nan}]})
    assert document_of(run)["environment"] == {"weird": [None, {"x": None}]}


@pytest.mark.parametrize("run", [invented_run(), Invented().run()], ids=["cases", "no cases"])
def test_written_case_by_case_it_is_the_same_text(run: Any) -> None:
    summary = summarise_run(run)
    assert "".join(sides_text({"": summary}, folder="x")) == to_json(run_document(summary, folder="x"))


def test_nothing_in_it_moves_a_terminal() -> None:
    made = Invented()
    made.measured("evil \x1b[31m \u202e", 900.0, device="cpu", data="digits")
    text = to_json(run_document(summarise_run(made.run())))
    assert text.isascii()
    assert "\x1b" not in text
