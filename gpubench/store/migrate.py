"""Older stored documents are brought to today's form on load. Files are never rewritten for it.

A change of a stored format raises its number in `core` and adds one step here, from the old number to the next:

    RECORD_STEPS = {1: _peak_memory_gets_its_unit}
"""

from collections.abc import Callable, Mapping
from typing import Any

from gpubench.core.errors import StoreError
from gpubench.core.records import CONTEST_SCHEMA, RECORD_SCHEMA
from gpubench.store.run_info import RUN_SCHEMA

Document = dict[str, Any]
Step = Callable[[Document], Document]
"""From the document of one number to that of the next. It may change what it is given; the number is set for it."""

RUN_STEPS: Mapping[int, Step] = {}
RECORD_STEPS: Mapping[int, Step] = {}
CONTEST_STEPS: Mapping[int, Step] = {}


class NewerSchema(StoreError):  # noqa: N818 - named for what it says
    """Written by a gpubench that knows more than this one: reading it here would lose something."""


def migrate_run(document: Document) -> Document:
    """A `run.json` in today's form."""
    return migrate(document, current=RUN_SCHEMA, steps=RUN_STEPS)


def migrate_record(document: Document) -> Document:
    """A line of `records.jsonl` in today's form."""
    return migrate(document, current=RECORD_SCHEMA, steps=RECORD_STEPS)


def migrate_contest(document: Document) -> Document:
    """A line of `contests.jsonl` in today's form. Runs from before contests have no such file."""
    return migrate(document, current=CONTEST_SCHEMA, steps=CONTEST_STEPS)


def migrate(document: Document, *, current: int, steps: Mapping[int, Step]) -> Document:
    """Step by step from the document's number to `current`.

    NewerSchema for a number above it; ValueError for one that is missing, no number, or without a step.
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
