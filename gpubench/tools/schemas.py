"""The JSON Schemas of suite files, for editors, and of stored records, kept in `schemas/`."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import FloatSchema

from gpubench.core.metrics import METRICS
from gpubench.core.records import CONTEST_SCHEMA, RECORD_SCHEMA, ContestRecord, Record
from gpubench.core.stored_model import Frozen
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.settings import SETTINGS, is_number, is_switch
from gpubench.suite.model.suite import Suite

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LIMIT_WORDS = {"ge", "gt", "le", "lt"}
_SECTIONS = {"defaults": "Settings", "matrix": "Axes", "baseline": "Pattern"}
_LISTS = {"exclude": "Pattern", "path": "Settings", "include": "Settings"}

Schema = dict[str, Any]


def suite_schema() -> Schema:
    """The schema with which editors check and complete suites, kept in `schemas/suite-1.json`.

    It accepts everything that `gpubench validate` accepts, and a little more: `validate` also checks what depends on
    other parts of the file, or is written inside text (durations, shares).
    """
    text = (
        json.dumps(Suite.model_json_schema(by_alias=True))
        .replace("QualitySettings", "Quality")
        .replace("ContestSettings", "Contest")
        .replace("ClusterSettings", "Cluster")
    )  # as released
    schema = _tidy(json.loads(text))
    definitions, sections = schema["$defs"], schema["properties"]
    settings = _settings()
    definitions["Settings"] = _object("Settings of a case.", settings)
    definitions["Pattern"] = _object(
        "Settings that a case must have; a list means any of its values.",
        {
            name: {"anyOf": [_setting(name), {"type": "array", "items": _setting(name), "minItems": 1}]}
            for name in settings
        },
    )
    definitions["Axes"] = _object("Settings with the values to combine.", {name: _axis(name) for name in settings})
    for name, what in _SECTIONS.items():
        _refer(sections, name, _reference(what))
    for name, what in _LISTS.items():
        _refer(sections, name, {"type": "array", "items": _reference(what)})
    _refer(definitions["When"]["properties"], "if", _reference("Pattern"))
    _refer(definitions["When"]["properties"], "set", _reference("Settings"))
    _refer(definitions["Gate"]["properties"], "where", _reference("Pattern"))
    _refine_quality(definitions["Quality"]["properties"], sections)
    definitions["Gate"]["properties"]["metric"]["enum"] = [
        *(n for n, m in METRICS.built_in.items() if m.better is not None),
        "status",
    ]
    for name, section in sections.items():
        if name not in schema["required"]:
            sections[name] = _or_nothing(section)
    return {"$schema": _DIALECT, **schema, "title": "gpubench suite"}


def _settings() -> dict[str, Schema]:
    """The settings of a case in all forms that a suite file may use, more than a stored case."""
    schema: dict[str, Schema] = _tidy(Case.model_json_schema())["properties"]
    for name in SETTINGS:
        if is_switch(name):
            schema[name] = _also(schema[name], {"enum": ["on", "off", "yes", "no"]})
        if SPECS[name].aliases:
            aliases = [*SPECS[name].aliases, *(alias.lower() for alias in SPECS[name].aliases)]
            schema[name] = _also(schema[name], {"enum": aliases})
    schema["compile"] = _also(schema["compile"], {"type": "boolean"})
    for name in ("shape", "input"):
        schema[name] = _also(schema[name], {"type": "integer", "minimum": 1})
    schema["env"]["additionalProperties"] = {"type": ["string", "number"]}
    return schema


def _axis(name: str) -> Schema:
    values: Schema = {"type": "array", "items": _setting(name)}
    if name == "params":
        lists = {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}
        return {"anyOf": [values, {"description": "Parameters, each with the values to combine.", **lists}]}
    if not is_number(name):
        return values
    exponents = {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 24},
        "minItems": 2,
        "maxItems": 2,
    }
    return {"anyOf": [values, _object("Powers of two, from and to.", {"pow2": exponents}) | {"required": ["pow2"]}]}


def _refine_quality(quality: dict[str, Schema], sections: dict[str, Schema]) -> None:
    _refer(quality, "reference", _reference("Pattern"))
    _refer(quality, "data", {"anyOf": [_setting("data"), {"type": "null"}]})
    one = quality["learning_rate"]["items"]
    quality["learning_rate"] = _also(quality["learning_rate"], one)
    for name in ("quality", "contest"):
        sections[name] = _also(sections[name], {"const": "off"})


def _also(schema: Schema, other: Schema) -> Schema:
    """`schema` or `other`, with the description and default outside."""
    said: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in said}
    options = rest["anyOf"] if list(rest) == ["anyOf"] else [rest]
    return {**said, "anyOf": [*options, other]}


def _or_nothing(schema: Schema) -> Schema:
    """The schema, or nothing: an empty section is the same as none."""
    return schema if {"type": "null"} in schema.get("anyOf", ()) else _also(schema, {"type": "null"})


def _refer(properties: dict[str, Schema], name: str, to: Schema) -> None:
    said = properties[name].get("description")
    properties[name] = ({"description": said} if said else {}) | to


def _object(description: str, properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "description": description, "properties": properties, "additionalProperties": False}


def _reference(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _setting(name: str) -> Schema:
    return {"$ref": f"#/$defs/Settings/properties/{name}"}


def _tidy(schema: Any) -> Any:
    """Without titles that repeat names, and without the limits that pydantic adds next to a custom schema."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"title"} | _LIMIT_WORDS
    return {
        key: {name: _tidy(each) for name, each in value.items()} if key in ("properties", "$defs") else _tidy(value)
        for key, value in schema.items()
        if not (key in dropped and not isinstance(value, dict))
    }


class _Stored(GenerateJsonSchema):
    """Numbers that are not finite are stored as text, as JSON has none."""

    def float_schema(self, schema: FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def record_schema() -> dict[str, Any]:
    """The schema of one line of `records.jsonl`, kept in `schemas/record-2.json`."""
    return _stored_schema(Record, RECORD_SCHEMA)


def contest_schema() -> dict[str, Any]:
    """The schema of one line of `contests.jsonl`, kept in `schemas/contest-1.json`."""
    return _stored_schema(ContestRecord, CONTEST_SCHEMA)


def _stored_schema(model: type[Frozen], number: int) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Stored)
    schema["properties"]["schema"] = {"const": number, "title": "Schema"}
    return {"$schema": _DIALECT, **schema}
