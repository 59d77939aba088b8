"""What tells whose machine it was: UUIDs of its cards, and home folders; and documents without them."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

_HOME = re.compile(r"/(?:home|Users)/[^/\s:]+")
_UUID = re.compile(r"(?:MIG-GPU|GPU|MIG)-[0-9a-fA-F][0-9a-fA-F-]{7,}")
_KEYS = frozenset({"uuid", "device_uuid"})


def anonymise(uuid: str) -> str:
    """A UUID as twelve hex digits of its SHA-256, prefix kept: the same card gives the same digits in every run."""
    prefix = next((known for known in ("MIG-GPU-", "GPU-", "MIG-") if uuid.startswith(known)), "")
    return f"{prefix}{hashlib.sha256(uuid.removeprefix(prefix).lower().encode()).hexdigest()[:12]}"


def hide_uuids(text: str) -> str:
    """The text with every UUID of a GPU or MIG slice hashed."""
    return _UUID.sub(lambda match: anonymise(match[0]), text)


def hide_homes(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text with every home folder shortened to `~`."""
    own = (os.environ if environ is None else environ).get("HOME", "")
    return _HOME.sub("~", text.replace(own, "~") if len(own) > 1 else text)


def anonymous(document: Any, name: str = "") -> Any:
    """A JSON document with hashed UUIDs and hidden homes; a card gets the same digits in every record and in the
    environment.
    """
    if isinstance(document, dict):
        return {key: anonymous(each, key) for key, each in document.items()}
    if isinstance(document, list):
        return [anonymous(each, name) for each in document]
    if not isinstance(document, str):
        return document
    if name in _KEYS:
        return anonymise(document if document.startswith(("GPU-", "MIG-")) else f"GPU-{document}")
    return hide_homes(hide_uuids(document))
