"""What `--why` found, as a run folder keeps it: `why.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from gpubench.core.records import Label
from gpubench.core.stored_model import Frozen
from gpubench.profile.figures.explain_change import ChangeExplained
from gpubench.store.atomic_files import write_atomically

KEPT_FILE = "why.json"


class _Kept(Frozen):
    label: Label
    explained: ChangeExplained


class _KeptFile(Frozen):
    schema_number: Literal[1] = Field(default=1, alias="schema")
    why: tuple[_Kept, ...] = ()


def kept_explanations(run: Path, reference: str, candidate: str) -> dict[str, ChangeExplained]:
    """Why `candidate` is slower than `reference`, by the label of the case. What cannot be read is left out, so that a
    report works without it.
    """
    of = (each for each in _kept(run) if (each.explained.reference, each.explained.candidate) == (reference, candidate))
    return {each.label: each.explained for each in of}


def keep_explanations(run: Path, answers: Mapping[str, ChangeExplained]) -> None:
    """Adds explanations by label; each takes the place of an older one of the same arms. StoreError."""
    found = {(each.label, each.explained.reference, each.explained.candidate): each for each in _kept(run)}
    for label, answer in answers.items():
        found[label, answer.reference, answer.candidate] = _Kept(label=label, explained=answer)
    content = _KeptFile(why=tuple(found.values())).model_dump_json(by_alias=True, indent=1)
    write_atomically(run / KEPT_FILE, content.encode())


def _kept(run: Path) -> tuple[_Kept, ...]:
    try:
        return _KeptFile.model_validate_json((run / KEPT_FILE).read_bytes()).why
    except (OSError, ValidationError):
        return ()
