"""Facts measured on this machine, cached between runs: the doctor's self-test and the ceilings of its devices."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpubench.machine import host_facts
from gpubench.store.atomic_files import expand_home

CACHE_SCHEMA = 1
CPU = "cpu"

StoredCeiling = dict[str, Any]
"""One ceiling in JSON types, written and read by `analysis.summary.measured_ceilings`."""

_KIND = ("quantity", "precision", "threads")
"""Ceilings with equal values of these replace each other."""


def folder(environ: Mapping[str, str] | None = None, part: str = "doctor") -> Path:
    """`$XDG_CACHE_HOME/gpubench/<part>`, by default under `~/.cache`."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME")
    home = expand_home("~")
    if not home.is_absolute():
        home = Path(tempfile.gettempdir()) / f"home-{os.getuid()}"
    return (Path(base) if base else home / ".cache") / "gpubench" / part


def key_of(identity: Mapping[str, Any]) -> str:
    """Sixteen hex digits of the identity of a host or card."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(identity: Mapping[str, Any], where: Path | None = None) -> dict[str, Any] | None:
    """The stored facts; None if there are none, they cannot be read, or their schema differs."""
    path = (where or folder()) / f"{key_of(identity)}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("schema") != CACHE_SCHEMA:
        return None
    facts = content.get("facts")
    return facts if isinstance(facts, dict) else None


def store(identity: Mapping[str, Any], facts: Mapping[str, Any], where: Path | None = None) -> Path | None:
    """Writes the facts atomically; None if the folder cannot be written (a read-only home is no error)."""
    target = where or folder()
    path = target / f"{key_of(identity)}.json"
    content = {"schema": CACHE_SCHEMA, "identity": dict(identity), "facts": dict(facts)}
    try:
        target.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
        draft.replace(path)
    except OSError:
        return None
    return path


def ceilings_identity(key: str) -> dict[str, Any]:
    """The identity of a device: a card's UUID, or `cpu`."""
    return {"kind": "cpu", "model": host_facts.cpu()["model"]} if key == CPU else {"kind": "gpu", "uuid": key}


def known_ceilings(keys: Iterable[str], where: Path | None = None) -> dict[str, list[StoredCeiling]]:
    """The stored ceilings of these devices; devices without any are left out."""
    found = {key: _stored_ceilings(key, where) for key in keys}
    return {key: ceilings for key, ceilings in found.items() if ceilings}


def remember_ceilings(key: str, measured: Sequence[Mapping[str, Any]], where: Path | None = None) -> Path | None:
    """Adds new ceilings to the device's file; None if it cannot be written (a read-only home is no error)."""
    return store(
        ceilings_identity(key),
        {"ceilings": merged_ceilings(_stored_ceilings(key, where), measured)},
        where or folder(part="ceilings"),
    )


def merged_ceilings(before: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> list[StoredCeiling]:
    """One ceiling per kind, from stored and new ones.

    Under equal conditions (driver, torch, power limit) the higher one wins: a peak is the most ever reached. Under
    different conditions the newer one: the older no longer describes this device.
    """
    kept: dict[tuple[Any, ...], StoredCeiling] = {}
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


def _stored_ceilings(key: str, where: Path | None) -> list[StoredCeiling]:
    """Entries without a value or conditions are dropped."""
    stored = (load(ceilings_identity(key), where or folder(part="ceilings")) or {}).get("ceilings", [])
    return [each for each in stored if isinstance(each, dict) and {"value", "conditions", *_KIND} <= each.keys()]
