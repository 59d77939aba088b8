import json
from pathlib import Path

import jsonschema
from fakes import traces

from gpubench.core.findings import FINDINGS
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.figures.summary_model import ProfileSummary, json_schema
from gpubench.profile.traces.read_trace import read_trace

STORED = Path(__file__).parents[3] / "schemas" / "profile-1.json"


def test_the_stored_schema_is_the_models():
    """Write it again with: python -c "import json; from gpubench.profile.figures.summary_model import json_schema;
    print(json.dumps(json_schema(), indent=2))" > schemas/profile-1.json
    """
    assert json.loads(STORED.read_text()) == json_schema()


def test_a_summary_is_valid_and_comes_back_as_it_was(tmp_path: Path):
    summary = summarize(
        read_trace(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")), measured_step_time_s=5e-4
    )
    text = summary.model_dump_json(by_alias=True)
    jsonschema.validate(json.loads(text), json.loads(STORED.read_text()))
    assert ProfileSummary.model_validate_json(text) == summary


def test_the_names_that_others_rely_on_are_there(tmp_path: Path):
    summary = summarize(read_trace(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")))
    document = json.loads(summary.model_dump_json(by_alias=True))
    assert {"schema", "tool", "steps", "devices", "warnings"} <= document.keys()
    assert {"idle", "busy_ns", "kernels_per_step", "tensor_core_share", "copies", "phases", "top_kernels"} <= document[
        "devices"
    ][0].keys()
    assert document["devices"][0]["copies"].keys() == {"h2d", "d2h"}
    assert document["devices"][0]["top_kernels"][0]["class"] == "conv"


def test_no_finding_of_a_profile_touches_a_measured_figure():
    own = [spec for code, spec in FINDINGS.items() if code.startswith("GB5")]
    assert len(own) == 20
    assert {spec.effect for spec in own} == {"none"}
