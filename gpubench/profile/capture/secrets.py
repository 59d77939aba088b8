"""What looks like a secret in an environment, and an environment without it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(
    r"(^|_)(TOKENS?|SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|PASS|PWD|PAT|API_?KEYS?|ACCESS_?KEYS?|ACCESS_KEY_ID|PRIVATE_?KEYS?"
    r"|ENCRYPTION_?KEY|SIGNING_?KEY|SECRET_?KEY|KEYS?|CREDENTIALS?|CREDS?|AUTH|AUTHORIZATION|BEARER|COOKIES?|JWT|DSN|CONNECTION_?STRING"
    r"|WEBHOOK(_URL)?|NETRC|SSH_AUTH_SOCK|KUBECONFIG|DOCKER_AUTH_CONFIG|CERT_PASS)(_|$)"
    r"|TOKEN$|SECRET$|PASSWORD$|PASSWD$|APIKEY$",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"://([^/\s:@]*:[^/\s@]+)@")
"""`user:password` of an address."""
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[abposr]-|sk-[A-Za-z]|hf_|AKIA|ASIA|AIza|ya29\.|npm_|pypi-|dop_v1_)[A-Za-z0-9_-]{8}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}"  # a JSON web token
)
_HARMLESS = frozenset({"PWD", "OLDPWD"})
"""Names that match and are folders."""


def without_secrets(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment without what looks like a secret, and the names left out, sorted.

    By name (`HF_TOKEN`, `AWS_SECRET_ACCESS_KEY`, `DB_PASSWORD`) or by value (a password in an address, a private key,
    the usual prefixes of tokens). Better one variable too many: a program under a profiler seldom needs any of them.
    """
    removed = tuple(sorted(name for name, value in environ.items() if secret_part(name, value) is not None))
    return {name: value for name, value in environ.items() if name not in removed}, removed


def secret_part(name: str, value: str) -> str | None:
    """What must not be seen of a variable: all of it, or the password in an address; None where nothing looks secret."""
    if (name not in _HARMLESS and _NAME.search(name)) or _VALUE.search(value):
        return value
    address = _IN_ADDRESS.search(value)
    return None if address is None else address[1]


def secrets_in_sight(processes: Path = Path("/proc")) -> dict[str, str]:
    """Secret -> name of its variable, for what looks like one in the environments of the processes that this one may
    look at.

    Nothing where the system shows no environments.
    """
    found: dict[str, str] = {}
    for path in processes.glob("[0-9]*/environ"):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
        for entry in content.split(b"\0"):
            name, separator, value = os.fsdecode(entry).partition("=")
            secret = secret_part(name, value) if separator else None
            if secret is not None:
                found[secret] = name
    return found
