"""Records without what names a machine or its owner: UUIDs hashed as in the environment, home folders as `~`."""

from typing import Any

from gpubench.core.records import Record
from gpubench.machine.environment_variables import anonymise, hide_homes, hide_uuids

_UUIDS = frozenset({"uuid", "device_uuid"})


def anonymous(record: Record) -> Record:
    """The same card gets the same digits in every record and in the environment of the run."""
    return Record.model_validate(_hidden(record.model_dump(mode="json", by_alias=True)))


def _hidden(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _hidden(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each, name) for each in value]
    if not isinstance(value, str):
        return value
    if name in _UUIDS:
        return anonymise(value if value.startswith(("GPU-", "MIG-")) else f"GPU-{value}")
    return hide_homes(hide_uuids(value))
