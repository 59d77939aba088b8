"""The ceilings measured so far, stored per card or CPU model next to the self-test's facts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpubench.machine import host_facts, machine_cache

CPU = "cpu"

Facts = dict[str, Any]
"""One ceiling in JSON types, as `analysis.summary.measured_ceilings` writes and reads it."""

_KIND = ("quantity", "precision", "threads")
"""Ceilings that agree in these replace each other."""


def identity(key: str) -> dict[str, Any]:
    """The identity of a device. `key` is a card's UUID, or `cpu`."""
    return {"kind": "cpu", "model": host_facts.cpu()["model"]} if key == CPU else {"kind": "gpu", "uuid": key}


def known(keys: Iterable[str], where: Path | None = None) -> dict[str, list[Facts]]:
    """The stored ceilings of these devices; devices without any are left out."""
    found = {key: _load(key, where) for key in keys}
    return {key: ceilings for key, ceilings in found.items() if ceilings}


def remember(key: str, measured: Sequence[Mapping[str, Any]], where: Path | None = None) -> Path | None:
    """Adds what was measured to the device's file; None if it cannot be written (a read-only home is no error)."""
    return machine_cache.store(identity(key), {"ceilings": merged(_load(key, where), measured)}, _folder(where))


def merged(before: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> list[Facts]:
    """One ceiling of each kind.

    Of two under the same conditions (driver, torch, power limit) the higher: a peak is the most ever reached. Under
    different conditions the newer: the older no longer describes this device.
    """
    kept: dict[tuple[Any, ...], Facts] = {}
    for each in (*before, *measured):
        kind = tuple(each.get(name) for name in _KIND)
        old = kept.get(kind)
        if (
            old is None
            or old["conditions"] != each["conditions"]
            or float(each["value"]["value"]) > float(old["value"]["value"])
        ):
            kept[kind] = dict(each)
    return list(kept.values())


def _load(key: str, where: Path | None) -> list[Facts]:
    """Entries without a value or conditions are useless and dropped."""
    stored = (machine_cache.load(identity(key), _folder(where)) or {}).get("ceilings", [])
    return [each for each in stored if isinstance(each, dict) and {"value", "conditions", *_KIND} <= each.keys()]


def _folder(where: Path | None) -> Path:
    return where or machine_cache.folder(part="ceilings")
