import json
import math
from pathlib import Path

import jsonschema
import pytest
from fakes.runs import Invented, invented_run

from gpubench.core.records import Record
from gpubench.tools.schemas import record_schema

STORED = Path(__file__).parents[3] / "schemas" / "record-2.json"
RUN = invented_run()


def lines(*records: Record) -> list[object]:
    return [json.loads(record.model_dump_json(by_alias=True)) for record in records]


def test_the_stored_schema_is_the_models() -> None:
    """Make it anew: python -c "import json; from gpubench.tools.schemas import record_schema;
    print(json.dumps(record_schema(), indent=2))" > schemas/record-2.json
    """
    assert json.loads(STORED.read_text()) == record_schema()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(record_schema())


def test_every_record_follows_it() -> None:
    validator = jsonschema.Draft202012Validator(record_schema())
    for line in lines(*RUN.records):
        validator.validate(line)


def test_a_value_that_is_not_finite_follows_it_too() -> None:
    made = Invented(1)
    made.measured("cpu", 900.0, extra={"final_loss": math.nan}, device="cpu")
    jsonschema.Draft202012Validator(record_schema()).validate(lines(*made.records)[0])


@pytest.mark.parametrize("change", [{"status": "fine"}, {"schema": 3}, {"colour": "green"}, {"repeat": "one"}])
def test_what_is_no_record_does_not_follow_it(change: dict[str, object]) -> None:
    (line,) = lines(RUN.records[0])
    assert isinstance(line, dict)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(record_schema()).validate({**line, **change})
