"""What looks like a secret, and texts without it: the one rule for everything that is written, shown or handed on.

A variable is secret by its name (`HF_TOKEN`, `TORCH_HUB_PAT`, `dbPassword`) or by its value (a password in an address,
a private key, the usual prefixes of tokens). Better one too many: few of them explain a figure.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from gpubench.core.errors import UsageError

WITHHELD = "(withheld)"
"""Stands for a secret in everything that is stored or shown."""

_SECRET_PART = re.compile(
    r"(AUTH|AUTHORIZATION|BEARER|COOKIE|CRED|CREDENTIAL|CSRF|DSN|JWT|KEY|KUBECONFIG|NETRC|OAUTH|OTP|PASS|PASSCODE|PAT"
    r"|PSW|PW|PWD|SALT|SAS|SESSION|SESSIONID|SIG|SIGNATURE|WEBHOOK"
    r"|\w*(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|(API|ACCESS|PRIVATE|SECRET)KEY))S?"
)
_HARMLESS = re.compile(
    r"--pass-env|(OLD)?PWD|(DESKTOP|XDG|DBUS)_SESSION\w*|XDG_\w+|SESSION_MANAGER"
    r"|(?i:(-+)?session[-_]name)|NSYS_PROFILING_SESSION_ID|GPUBENCH_PROFILE_SESSION"
)
"""Names that match and are folders, of the desktop, an option of `gpubench profile`, or what nsys and gpubench number
their sessions with: every report of nsys holds those.
"""
_SWITCH = re.compile(r"|\d{1,3}|true|false|yes|no|on|off|none|null", re.IGNORECASE)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_TOKENS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END[A-Z -]*|\Z)"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abposr]-|ya29\.|pypi-|dop_v1_)[A-Za-z0-9_.-]{8,}"
    r"|\b(?:AKIA|ASIA|AIza)[A-Za-z0-9_-]{8,}|\bsk[-_][A-Za-z0-9_-]{16,}|\b(?:hf|npm)_[A-Za-z0-9]{16,}"
    r"|(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}[A-Za-z0-9_.-]*"  # a JSON web token
    r"|(?<=\bBearer )[A-Za-z0-9+/=._~-]{8,}|(?<=\bBasic )[A-Za-z0-9+/=]{8,}",
    re.DOTALL,
)
_IN_ADDRESS = re.compile(
    r"""(?<=://)(?P<user>[^/\s:@"'\\]*:)(?:(?!://)[^\s"'\\])+(?=@)|(?<=://)[^/\s:@"'\\]{20,}(?=@)"""
)
"""`user:password` of an address, or a token instead of both."""
_ADDRESS_ALONE = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
"""The same where a value stands alone: its password may hold quotes, which end one inside a text."""
_NAMED = re.compile(r"""(?<![\w.-])([A-Za-z_-][\w.-]{0,200}+)(?:=|\\?["'] ?: ?|(?<=[A-Z0-9]): )""")
_VALUE = re.compile(r"""\\?(["'])(?P<quoted>[^"']*)\\?\1|(?P<bare>[^\s&,;"'\\(){}\[\]]+)""")
"""`NAME=value`, `"name": "value"` and `NAME: value` inside a text."""
_KEPT = frozenset({"workload", "case_id", "suite_digest", "commit"})
"""Keys of a document whose values are names and never secrets."""


def is_secret_name(name: str) -> bool:
    parts = (part.upper() for part in _PART.findall(name))
    return any(map(_SECRET_PART.fullmatch, parts)) and not _HARMLESS.fullmatch(name)


def secret_part(name: str, value: str) -> str | None:
    """The secret in a variable: all of it, or the password in an address; None if nothing looks like one."""
    if _SWITCH.fullmatch(value):
        return None
    if is_secret_name(name) or _TOKENS.search(value):
        return value
    address = _IN_ADDRESS.search(value) or _ADDRESS_ALONE.search(value)
    return None if address is None else address[0]


def without_secrets(environ: Mapping[str, str], passed: Collection[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """The environment without what looks like a secret, and what was withheld. Names in `passed` stay."""
    withheld = {
        name: value
        for name, value in sorted(environ.items())
        if name not in passed and secret_part(name, value) is not None
    }
    return {name: value for name, value in environ.items() if name not in withheld}, withheld


def masked(name: str, value: str) -> str:
    """The value of a variable as it may be shown."""
    if is_secret_name(name) and not _SWITCH.fullmatch(value):
        return WITHHELD
    return mask_text(_ADDRESS_ALONE.sub(lambda found: f"{found[0].partition(':')[0]}:{WITHHELD}", value))


def mask_text(text: str) -> str:
    """A text with the secrets in it withheld: `--arm head=env.MY_TOKEN=...`, `redis://user:...@host`, tokens."""
    text = _IN_ADDRESS.sub(lambda found: f"{found['user'] or ''}{WITHHELD}", _TOKENS.sub(WITHHELD, text))
    kept, at = [], 0
    for named in _NAMED.finditer(text):
        if named.start() < at or not is_secret_name(named[1].rpartition(".")[2]):
            continue
        value = _VALUE.match(text, named.end())
        start, end = value.span(value.lastgroup or 0) if value else (0, 0)
        if (
            value is not None
            and WITHHELD not in text[start : end + len(WITHHELD)]
            and not _SWITCH.fullmatch(text[start:end])
        ):
            kept += [text[at:start], WITHHELD]
            at = end
    return "".join([*kept, text[at:]])


def hide_secrets(document: Any, name: str = "") -> Any:
    """A JSON document with its secrets withheld: strings by the name of their key, and whatever looks like one.

    In a list a word after `--name` has this name, as in a command line.
    """
    if isinstance(document, Mapping):
        return {key: hide_secrets(value, str(key)) for key, value in document.items()}
    if isinstance(document, list | tuple):
        before = [each if isinstance(each, str) and each.startswith("--") else name for each in document]
        return [hide_secrets(value, option) for option, value in zip([name, *before], document, strict=False)]
    return masked(name, document) if isinstance(document, str) and name not in _KEPT else document


def given_back(env: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """`env` of a stored case, with values that were withheld taken from `environ`. UsageError for one that it lacks."""
    withheld = [name for name, value in env.items() if WITHHELD in value]
    for name in withheld:
        if name not in environ:
            raise UsageError(
                f"the run did not store the value of {name}, which looks like a secret",
                hint=f"Give it in the environment: {name}=... gpubench ...",
            )
    return {**env, **{name: environ[name] for name in withheld}}
