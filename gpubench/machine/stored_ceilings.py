"""The ceilings measured so far, kept per card (per CPU model where there is no card) beside the self-test's facts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpubench.machine import host_facts, machine_cache

CPU = "cpu"

Facts = dict[str, Any]
"""One ceiling in JSON types; `analysis.ceilings` knows what is in it. Here `kind` tells which ones replace each other.
"""

_KIND = ("quantity", "precision", "threads")


def identity(key: str) -> dict[str, Any]:
    """What the ceilings of a device belong to. `key` is a card's UUID, or `cpu`."""
    return {"kind": "cpu", "model": host_facts.cpu()["model"]} if key == CPU else {"kind": "gpu", "uuid": key}


def known(keys: Iterable[str], where: Path | None = None) -> dict[str, list[Facts]]:
    """The stored ceilings of these devices; devices without any are left out."""
    found = {key: _load(key, where) for key in keys}
    return {key: ceilings for key, ceilings in found.items() if ceilings}


def remember(key: str, measured: Sequence[Mapping[str, Any]], where: Path | None = None) -> Path | None:
    """Adds what was measured to the device's file; None where it cannot be written (a read-only home is no error)."""
    return machine_cache.store(identity(key), {"ceilings": merged(_load(key, where), measured)}, _folder(where))


def merged(before: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> list[Facts]:
    """One ceiling of each kind. The higher of two under the same conditions: a peak is the most that was ever reached.
    Under other conditions (driver, torch, power limit) the newer: the older no longer describes this device.
    """
    kept: dict[tuple[Any, ...], Facts] = {}
    for each in (*before, *measured):
        kind = tuple(each.get(name) for name in _KIND)
        standing = kept.get(kind)
        if standing is None or standing["conditions"] != each["conditions"] or _value(each) > _value(standing):
            kept[kind] = dict(each)
    return list(kept.values())


def _value(facts: Mapping[str, Any]) -> float:
    return float(facts["value"]["value"])


def _load(key: str, where: Path | None) -> list[Facts]:
    """Entries without a value or conditions are of no use and dropped."""
    stored = (machine_cache.load(identity(key), _folder(where)) or {}).get("ceilings", [])
    return [each for each in stored if isinstance(each, dict) and {"value", "conditions", *_KIND} <= each.keys()]


def _folder(where: Path | None) -> Path:
    return where or machine_cache.folder(part="ceilings")
