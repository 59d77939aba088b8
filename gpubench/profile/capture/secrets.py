"""What looks like a secret in an environment, and an environment without it."""

import re
from collections.abc import Collection, Mapping

_NAME = re.compile(
    r"(^|_)(TOKENS?|SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|PASS|PWD|PAT|API_?KEYS?|ACCESS_?KEYS?|ACCESS_KEY_ID"
    r"|PRIVATE_?KEYS?|ENCRYPTION_?KEY|SIGNING_?KEY|SECRET_?KEY|KEYS?|CREDENTIALS?|CREDS?|AUTH|AUTHORIZATION|BEARER"
    r"|COOKIES?|JWT|DSN|CONNECTION_?STRING|WEBHOOK(_URL)?|NETRC|SSH_AUTH_SOCK|KUBECONFIG|DOCKER_AUTH_CONFIG|CERT_PASS)(_|$)"
    r"|TOKEN$|SECRET$|PASSWORD$|PASSWD$|APIKEY$",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"://([^/\s:@]*:[^/\s@]+)@")
"""`user:password` of an address."""
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[abposr]-|sk-[A-Za-z]|hf_|AKIA|ASIA|AIza|ya29\.|npm_|pypi-|dop_v1_)"
    r"[A-Za-z0-9_-]{8}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}"  # a JSON web token
)
_HARMLESS = frozenset({"PWD", "OLDPWD"})
"""Names that match and are folders."""


def without_secrets(environ: Mapping[str, str], passed: Collection[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """The environment without what looks like a secret, and what was withheld. Names in `passed` stay.

    By name (`HF_TOKEN`, `AWS_SECRET_ACCESS_KEY`, `DB_PASSWORD`) or by value (a password in an address, a private key,
    the usual prefixes of tokens). Better one variable too many: a program under a profiler seldom needs any of them.
    """
    withheld = {
        name: value
        for name, value in sorted(environ.items())
        if name not in passed and secret_part(name, value) is not None
    }
    return {name: value for name, value in environ.items() if name not in withheld}, withheld


def secret_part(name: str, value: str) -> str | None:
    """The secret in a variable: all of it, or the password in an address; None if nothing looks like one."""
    if (name not in _HARMLESS and _NAME.search(name)) or _VALUE.search(value):
        return value
    address = _IN_ADDRESS.search(value)
    return None if address is None else address[1]
