"""Facts measured on this machine, cached between runs: the doctor's self-test and the ceilings of its devices."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CACHE_SCHEMA = 1


def folder(environ: Mapping[str, str] | None = None, part: str = "doctor") -> Path:
    """`$XDG_CACHE_HOME/gpubench/<part>`, by default under `~/.cache`."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "gpubench" / part


def key_of(identity: Mapping[str, Any]) -> str:
    """Sixteen hex digits for the identity of a host or card."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(identity: Mapping[str, Any], where: Path | None = None) -> dict[str, Any] | None:
    """The stored facts; None if there are none, or if they cannot be read or have another schema."""
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
