"""What looks like a secret, and texts without it: the one rule for everything that is written, shown or handed on.

A variable is a secret by its name (`HF_TOKEN`, `TORCH_HUB_PAT`, `dbPassword`) or by its value (a password in an
address, a private key, the usual prefixes of tokens). In doubt it is withheld: few variables explain a figure. The
secrets of the environment, and of variables that a worker was started with (`remember`), are withheld wherever a text
repeats them.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gpubench.core.errors import UsageError

WITHHELD = "(withheld)"
"""Stands for a secret in everything that is stored or shown."""

_SECRET_PART = re.compile(
    r"(AUTH|AUTHORIZATION|BEARER|COOKIE|CRED|CREDENTIAL|CSRF|DSN|JWT|KEY|KUBECONFIG|NETRC|OAUTH|OTP|PASS(IN|OUT|CODE)?|PAT"
    r"|PSW|PW|PWD|SALT|SAS|SESSION|SESSIONID|SIG|SIGNATURE|WEBHOOK"
    r"|\w*(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|(API|ACCESS|PRIVATE|SECRET)KEY))S?"
)
_HARMLESS = re.compile(
    r"--pass-env|(OLD)?PWD|(DESKTOP|XDG|DBUS)_SESSION\w*|XDG_\w+|SESSION_MANAGER"
    r"|(?i:(-+)?session[-_]name)|NSYS_PROFILING_SESSION_ID|GPUBENCH_PROFILE_SESSION"
)
"""Names that match but hold no secret: folders, desktop variables, an option of `gpubench profile`, and the session
numbers of nsys and gpubench, which every nsys report contains.
"""
_SHAPE = r"(?:(?:bool|int\d{1,9})(?::\d+(?:x\d+)*)?|\d+(?:x\d+)+)"
_MORE_SHAPES = rf"(?:\+(?:\w+=)?(?:{_SHAPE}|\d+))*"
_SWITCH = re.compile(rf"|\d{{1,3}}|true|false|yes|no|on|off|none|null|\.\.\.|\*+|{_SHAPE}{_MORE_SHAPES}", re.IGNORECASE)
"""Values that are no secret, whatever the name: switches, and the shape of an input called `tokens`."""
_INPUT = re.compile(rf"(?:\w+=)?(?:{_SHAPE}|\d+){_MORE_SHAPES}")
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
    r"""(?<=://)(?P<user>[^/\s:@"'\\]*:)(?:(?!://)(?:[^\s"'\\]|(?:\\?["']|\\)(?![\s"'\\,;:)\]}>]|\Z)))+(?=@)"""
    r"""|(?<=://)[^/\s:@"'\\]{20,}(?=@)"""
    r"""|(?:(?<=http://)|(?<=https://))(?!(?:git|oauth2|anonymous)@)[^/\s:@"'\\(]+(?=@)"""
)
"""`user:password` of an address, or a token instead of both. A quote before a separator ends the address."""
_ADDRESS_ALONE = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
"""The same where a value stands alone: its password may hold quotes, which end one inside a text."""
_NAMED = re.compile(
    r"""(?<![\w.-])(?P<name>[A-Za-z_-][\w.-]{0,200}+)"""
    r"""(?:=|\\?["'] ?: ?|(?<=[A-Z0-9]): |(?P<loose> ?: ?| = )|(?P<option> )(?=[^\s-]))"""
)
_VALUE = re.compile(r"""[\[{]?(?:\\?(["'])(?P<quoted>(?:(?!\\?\1)[^\n])*)|(?P<bare>[^\s&,;"'\\(){}\[\]]+))""")
"""`NAME=value`, `"name": "value"` and `NAME: value` inside a text; also `password: value`, `token = value` and
`--password value`, by fewer names or where the name is an option, as prose has colons as well. A quote that is not
closed ends with its line.
"""
_HEADER = re.compile(
    r"""((?:\b|(?<=-H))(?:(?:proxy-)?authorization|(?:set-)?cookie): ?"""
    r"""(?:(?:Basic|Bearer|Digest|Token|Negotiate) +)?)(?!None\b)[^\n"'\\]+""",
    re.IGNORECASE,
)
_SHORT = re.compile(
    r"""(?<![^\s"'`(])(?P<head>-[pP](?P<apart>[ =])?)(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s"'`;|&()\[\]]+)"""
)
"""`-p VALUE` and `-pVALUE`, the password of `mysql`, `sshpass`, `docker login`, `zip` ..."""
_SETTING = re.compile(
    r"""[-+.,:\d]*%?|[A-Z][A-Z_]*|(?:bf|fp|tf|int|float)\d{1,2}|[-<{$/~].*|no:.*|[a-z_.-]*(?:/[a-z_.-]*)+"""
)
"""What follows `-p` when it means a port, a number, a precision, a folder, or is a placeholder."""
_NOT_A_PASSWORD = re.compile(r"[a-zA-Z]+([_-][a-zA-Z]+)*|rint0|.*[=.].*")
"""After `-p` without a space: `-pthread`, `-print0`, `-precision=fp16`."""
_USER = r"(?!\d+:\d+(?:\s|$))[\w.@\\-]+[:%]"
_LOGIN = re.compile(rf"""(?<![^\s"'`(])((?:-[uU]|--(?:proxy-)?user(?=[ =]))[ =]?["']?{_USER})[^\s"'`]+""")
_LOGIN_VALUE = re.compile(f"({_USER}).+", re.DOTALL)
"""`-u user:password` of curl, `-U user%password` of smbclient; not `-u 1000:1000`."""
_ASSIGNED = re.compile(r"(?P<name>-{0,2}[\w.-]+)=(?P<value>.+)", re.DOTALL)
"""A word of a command line, whose value may hold spaces."""
_HEAD = "|".join(
    rf"(?<![\w-]){program}\b[^\n;|&]{{0,300}}?\s{option}"
    for program, option in (
        (r"(?:redis|valkey)-(?:cli|benchmark)", r"-a\s+"),
        (r"ldap[a-z]+", r"-w\s*"),
        (r"openssl", r"-[kK]\s+"),
        (r"snmp[a-z]+", r"-[AX]\s*"),
    )
)
_OF_PROGRAM = re.compile(rf"""({_HEAD})(?:"[^"\n]*"|'[^'\n]*'|[^\s;|&"']+)""")
_OF_PROGRAM_IN_WORDS = re.compile(rf"({_HEAD})[^\x1f]+")
"""Options that are a password of these programs alone; in the second, words are separated by the character 1F."""
_PLAIN = re.compile(r"(?!-[pPuU])[\w.-]{0,11}")
_MAY_BE_NAMED = re.compile(
    r"auth|bearer|cookie|cred|csrf|dsn|jwt|key|kube|netrc|otp|pass|pat|psw|pw|salt|sas|secret|session|sig|token|webhook",
    re.IGNORECASE,
)
"""A quick test that spares most texts the search for names."""
_LOOSE_NAME = re.compile(
    r".*(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(API|ACCESS|PRIVATE|SECRET)[_-]?KEY|COOKIE)", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+.,\d]*%?")
_COUNT = re.compile(r"\d+[kKMG]?")
_SCHEME = re.compile(r"(?:Basic|Bearer|Digest|Token|None)\b", re.IGNORECASE)
_SHORTEST = 8
_WORD = re.compile(r"[A-Za-z]+([ _-][A-Za-z]+)*|[\d.,:+-]+")
"""A value that may as well be a setting (`channels_last`, `cuda:0`, a number) is withheld only by its name."""
_KEPT = frozenset({"workload", "case_id", "suite_digest", "commit"})
"""Keys of a document whose values are names and never secrets."""


def is_secret_name(name: str) -> bool:
    parts = (part.upper() for part in _PART.findall(name))
    return any(map(_SECRET_PART.fullmatch, parts)) and not _HARMLESS.fullmatch(name)


def _is_secret(name: str, value: str) -> bool:
    return is_secret_name(name) and not _is_plain(name, value)


def _is_plain(name: str, value: str) -> bool:
    """A switch, or a number of tokens."""
    return bool(_SWITCH.fullmatch(value) or (name.lower().endswith("tokens") and _COUNT.fullmatch(value)))


def secret_part(name: str, value: str) -> str | None:
    """The secret in a variable: all of it, or the password in an address; None if nothing looks like one."""
    if _SWITCH.fullmatch(value):
        return None
    if _is_secret(name, value) or _TOKENS.search(value):
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
    return _masked(name, value, _known())


def _masked(name: str, value: str, known: re.Pattern[str] | None) -> str:
    if _is_secret(name, value):
        return WITHHELD
    if name in ("-p", "-P") and not _SETTING.fullmatch(value) and not _SWITCH.fullmatch(value):
        return WITHHELD
    if name in ("-u", "-U", "--user", "--proxy-user"):
        value = _LOGIN_VALUE.sub(rf"\1{WITHHELD}", value)
    return _mask(_ADDRESS_ALONE.sub(lambda found: f"{found[0].partition(':')[0]}:{WITHHELD}", value), known)


def remember(env: Mapping[str, str]) -> None:
    """From now on the secrets among these variables are withheld from every text, like those of the environment."""
    _remembered.update(env.items())


_remembered: set[tuple[str, str]] = set()


def mask_text(text: str) -> str:
    """A text with the secrets in it withheld: `--arm head=env.MY_TOKEN=...`, `redis://user:...@host`, tokens, and the
    values of secret variables.
    """
    return _mask(text, _known())


def _mask(text: str, known: re.Pattern[str] | None) -> str:
    if known is not None:
        text = known.sub(WITHHELD, text)
    if _PLAIN.fullmatch(text):
        return text
    text = _IN_ADDRESS.sub(lambda found: f"{found['user'] or ''}{WITHHELD}", _TOKENS.sub(WITHHELD, text))
    text = _LOGIN.sub(rf"\1{WITHHELD}", _SHORT.sub(_without_short, _OF_PROGRAM.sub(rf"\1{WITHHELD}", text)))
    return _without_named(_HEADER.sub(rf"\1{WITHHELD}", text)) if _MAY_BE_NAMED.search(text) else text


def _without_short(found: re.Match[str]) -> str:
    value = found["value"].strip("\"',;.")
    stays = _SETTING if found["apart"] else _NOT_A_PASSWORD
    harmless = stays.fullmatch(value) or _SETTING.fullmatch(value) or _SWITCH.fullmatch(value)
    return found[0] if harmless or WITHHELD.startswith(value) else f"{found['head']}{WITHHELD}"


def _without_named(text: str) -> str:
    kept, at, start = [], 0, 0
    while named := _NAMED.search(text, start):
        start = named.end("name") + 1
        if not _is_named_secret(named):
            continue
        value = _VALUE.match(text, named.end())
        begin, end = value.span(value.lastgroup or 0) if value else (0, 0)
        if value is None or WITHHELD in text[begin : end + len(WITHHELD)] or _is_plain(named["name"], text[begin:end]):
            continue
        is_sized = named["loose"] or named["option"] or named["name"].startswith("params.")
        if is_sized and _NUMBER.fullmatch(text[begin:end]):
            continue
        if _SCHEME.fullmatch(text[begin:end]):
            continue
        kept += [text[at:begin], WITHHELD]
        at = start = end
    return "".join([*kept, text[at:]])


def _is_named_secret(named: re.Match[str]) -> bool:
    name = named["name"].rpartition(".")[2]
    if named["loose"]:
        return _LOOSE_NAME.fullmatch(name) is not None
    return (named["option"] is None or named["name"].startswith("-")) and is_secret_name(name)


def _known() -> re.Pattern[str] | None:
    return _any_of(frozenset(os.environ.items()) | _remembered)


@lru_cache(maxsize=8)
def _any_of(variables: frozenset[tuple[str, str]]) -> re.Pattern[str] | None:
    """Finds the secrets of these variables, as they are, quoted as Python does, or for an address; None without any."""
    spellings = {
        spelling
        for name, value in variables
        for secret in _secrets_in(name, value)
        for spelling in (secret, repr(secret)[1:-1], quote(secret, safe=""), quote(secret))
    }
    if not spellings:
        return None
    either = "|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])")


def _secrets_in(name: str, value: str) -> Iterator[str]:
    """The parts of a variable to withhold from texts: long enough, and neither a word nor an existing path."""
    part = secret_part(name, value)
    if part is None:
        return
    of_address = _IN_ADDRESS.search(value) or _ADDRESS_ALONE.search(value)
    password = of_address[0].rpartition(":")[2] if of_address is not None else ""
    for secret in (password, part.strip() if part == value else ""):
        if len(secret) >= _SHORTEST and not _WORD.fullmatch(secret) and not _is_path(secret):
            yield secret


def _is_path(text: str) -> bool:
    try:
        return os.path.isabs(text) and os.path.exists(text)  # noqa: PTH110, PTH117 - Path() fails for some texts
    except ValueError:
        return False


_OPTION = re.compile(r"--?[\w.-]+")
"""An option whose value is the next word; `--name=value` has its own."""


def hide_secrets(document: Any) -> Any:
    """A JSON document with its secrets withheld: strings by the name of their key, and whatever looks like one.

    In a list a word after `--name` has this name, as in a command line.
    """
    return _hide(document, "", _known())


def _hide(document: Any, name: str, known: re.Pattern[str] | None) -> Any:
    if isinstance(document, Mapping):
        return {key: _hide(value, str(key), known) for key, value in document.items()}
    if isinstance(document, list | tuple):
        if document and all(isinstance(each, str) for each in document):
            document = _OF_PROGRAM_IN_WORDS.sub(rf"\1{WITHHELD}", "\x1f".join(document)).split("\x1f")
        before = [each if isinstance(each, str) and _OPTION.fullmatch(each) else name for each in document]
        return [_hide_word(value, option, known) for option, value in zip([name, *before], document, strict=False)]
    if not isinstance(document, str) or name in _KEPT or (name == "input" and _INPUT.fullmatch(document)):
        return document
    return _masked(name, document, known)


def _hide_word(word: Any, option: str, known: re.Pattern[str] | None) -> Any:
    assigned = _ASSIGNED.fullmatch(word) if isinstance(word, str) else None
    if assigned is not None and _is_secret(assigned["name"], assigned["value"]):
        return f"{assigned['name']}={WITHHELD}"
    return _hide(word, option, known)


def given_back(env: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """A case's `env` for the program it starts. Values withheld when the run was stored are taken from `environ`
    (UsageError for a missing one), and all its secrets are remembered.
    """
    withheld = [name for name, value in env.items() if WITHHELD in value]
    for name in withheld:
        if name not in environ:
            raise UsageError(
                f"the run did not store the value of {name}, which looks like a secret",
                hint=f"Give it in the environment: {name}=... gpubench ...",
            )
    given = {**env, **{name: environ[name] for name in withheld}}
    remember(given)
    return given
