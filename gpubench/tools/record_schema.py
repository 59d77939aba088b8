"""The JSON Schema of stored records, kept in `schemas/record-1.json`."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import FloatSchema

from gpubench.core.records import RECORD_SCHEMA, Record

_NOT_FINITE = ["NaN", "Infinity", "-Infinity"]


class _Stored(GenerateJsonSchema):
    """Numbers that are not finite are stored as text, as JSON has none."""

    def float_schema(self, schema: FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": _NOT_FINITE}]}


def record_schema() -> dict[str, Any]:
    """The schema of one line of `records.jsonl`."""
    schema = Record.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Stored)
    schema["properties"]["schema"] = {"const": RECORD_SCHEMA, "title": "Schema"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
