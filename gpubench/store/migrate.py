"""Converts older stored documents to the current schema on load. Files are never rewritten.

A change of a stored format raises its number in `core` and adds one step here, from the old number to the next.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gpubench.core.errors import StoreError
from gpubench.core.records import CONTEST_SCHEMA, RECORD_SCHEMA
from gpubench.store.run_info import RUN_SCHEMA

Document = dict[str, Any]
Step = Callable[[Document], Document]
"""From one schema number to the next. It may modify its argument; the caller sets the number."""


def _accuracy_becomes_a_score(record: Document) -> Document:
    """Accuracy was the only score there was."""
    quality = record.get("quality")
    if isinstance(quality, dict):
        if "validation_accuracy_per_epoch" in quality:
            quality["validation_score_per_epoch"] = quality.pop("validation_accuracy_per_epoch")
        if "accuracy" in quality:
            quality |= {"score_name": "accuracy", "score": quality["accuracy"], "score_better": "higher"}
    return record


RUN_STEPS: Mapping[int, Step] = {}
RECORD_STEPS: Mapping[int, Step] = {1: _accuracy_becomes_a_score}
ONLY_QUALITY_CHANGED_SINCE = frozenset({1})
"""Numbers from which all steps together change `quality` alone: a record without it is read once, not twice."""
CONTEST_STEPS: Mapping[int, Step] = {}


class NewerSchema(StoreError):  # noqa: N818 - named for what it says
    """Written by a newer gpubench: reading it here would lose something."""


def migrate_run(document: Document) -> Document:
    """A `run.json` in the current schema."""
    return migrate(document, current=RUN_SCHEMA, steps=RUN_STEPS)


def migrate_record(document: Document) -> Document:
    """A line of `records.jsonl` in the current schema."""
    return migrate(document, current=RECORD_SCHEMA, steps=RECORD_STEPS)


def migrate_contest(document: Document) -> Document:
    """A line of `contests.jsonl` in the current schema. Runs from before contests have no such file."""
    return migrate(document, current=CONTEST_SCHEMA, steps=CONTEST_STEPS)


def migrate(document: Document, *, current: int, steps: Mapping[int, Step]) -> Document:
    """Step by step from the document's number to `current`.

    NewerSchema for a number above it; ValueError for a missing or invalid number, or one without a step.
    """
    number = document.get("schema")
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError("it has no schema number" if number is None else f"{number!r} is not a schema number")
    if number > current:
        raise NewerSchema(
            f"written by a newer gpubench (schema {number}; this one reads up to {current})",
            hint="Read it with the gpubench that wrote it, or update: pip install --upgrade gpubench",
        )
    while number < current:
        if number not in steps:
            raise ValueError(f"gpubench has no migration from schema {number} to {number + 1}")
        document = {**steps[number](document), "schema": number + 1}
        number += 1
    return document
