"""The language of `--arm`: `head='git=main, env.OMP_NUM_THREADS=2, set.precision=amp-bf16'`.

    arm:    NAME | NAME "=" item ((","|" ") item)*
    item:   "python=" PATH | "git=" REVISION | "env." VARIABLE "=" TEXT | "set." SETTING "=" VALUE
            | "set.params." NAME "=" VALUE

Quote a value that has blanks or commas. An arm without items measures the suite as it is.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, NoReturn

from gpubench.core.errors import UsageError
from gpubench.suite.model.mistake_messages import near_word
from gpubench.suite.model.settings import SETTINGS, BadValue, normal
from gpubench.suite.read.problems import SourceText
from gpubench.suite.read.yaml_document import BadText, YamlScalar, read_yaml

MOST_ARMS = 8

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_KEY = re.compile(r"""[^\s,='"]+""")
_VARIABLE = re.compile(r"env\.[A-Za-z_][A-Za-z0-9_]*")
_KEYS = ("python", "git", "env.NAME", "set.NAME")
_PARAMETER = re.compile(r"params\.[A-Za-z_][A-Za-z0-9_]*")
_NULLS = ("null", "none", "None")
_EXAMPLE = "An arm looks like: --arm head='python=.venv/bin/python, env.NAME=1, git=main, set.precision=amp-bf16'"


@dataclass(frozen=True)
class ArmText:
    """One arm as it was written. `given` holds every item by its key, in order, unquoted; `settings` in the form stored
    in a case, a free setting as `params.NAME`.
    """

    name: str
    python: str | None = None
    git: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)


def parse_arms(texts: Sequence[str]) -> tuple[ArmText, ...]:
    """The arms, the reference first. UsageError for fewer than two, more than eight, a repeated name, or one that
    cannot be read.
    """
    arms = tuple(parse_arm(text) for text in texts)
    names = [arm.name for arm in arms]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise UsageError(f"two arms are called {twice!r}", hint="Every arm needs its own name.")
    if not 2 <= len(arms) <= MOST_ARMS:
        found = "there is one" if len(arms) == 1 else f"there are {len(arms)}"
        raise UsageError(
            f"a comparison takes 2 to {MOST_ARMS} arms, and {found}", hint=f"{_EXAMPLE} (the first is the reference)."
        )
    return arms


def parse_arm(text: str) -> ArmText:
    """One arm. UsageError with a caret below what is wrong."""
    name = text.partition("=")[0]
    if not _NAME.fullmatch(name.strip()):
        _fail(text, 0, max(1, len(name)), "its name must be letters, digits, `.`, `-` and `_`, at most 40")
    given: dict[str, str] = {}
    settings: dict[str, Any] = {}
    for start, end, word in _words(text, len(name) + 1):
        found = _KEY.match(text, start)
        if found is None:
            _fail(text, start, start + 1, "expected a key such as `python=` or `set.precision=` here")
        key, value = found[0], word[len(found[0]) + 1 :]
        kind, dot, rest = key.partition(".")
        if not text.startswith("=", found.end()):
            _fail(text, *found.span(), "expected `=` and a value")
        if key in given:
            _fail(text, *found.span(), f"{key} is given twice")
        if dot and kind == "set":
            settings[rest] = _setting(text, rest, value, found, end)
        elif dot and kind == "env":
            if not _VARIABLE.fullmatch(key):
                _fail(text, *found.span(), f"{rest!r} is not a name of an environment variable")
        elif key not in ("python", "git"):
            _fail(text, *found.span(), f"an arm has no {key!r}", _meant(key))
        elif not value:
            _fail(text, end, end + 1, "expected a value")
        given[key] = value
    env = {key.removeprefix("env."): value for key, value in given.items() if key.startswith("env.")}
    return ArmText(name.strip(), given.get("python"), given.get("git"), env, settings, given)


def _words(text: str, start: int) -> Iterator[tuple[int, int, str]]:
    """Start, end and unquoted text of the items from `start` on, with commas or blanks between them."""
    stream = StringIO(text)
    stream.seek(start)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace = "," + "".join(filter(str.isspace, text))
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    while True:
        start = len(text) - len(text[start:].lstrip(lexer.whitespace))
        try:
            word = lexer.get_token()
        except ValueError:
            quote = text.rindex(lexer.state)  # type: ignore[attr-defined] # the closing quote it waits for
            _fail(text, quote, quote + 1, "a quote is not closed")
        if word is None:
            return
        end = stream.tell()
        yield start, end - (text[end - 1] in lexer.whitespace), word
        start = end


def _setting(text: str, name: str, value: str, key: re.Match[str], end: int) -> Any:
    if name in ("python", "env"):
        instead = "python=PATH" if name == "python" else "env.NAME=VALUE"
        _fail(text, *key.span(), f"set.{name} is not how an arm gets one", f"write {instead}")
    if _PARAMETER.fullmatch(name):
        return _parameter(text, value, key, end)
    if name not in SETTINGS:
        _fail(text, *key.span(), f"there is no setting {name!r}", near_word(name, SETTINGS))
    start = key.end() + 1
    quoted = text[start : start + 1] in ("'", '"')
    try:
        return normal(name, None if value in _NULLS and not quoted else value)
    except BadValue as bad:
        _fail(text, start, max(end, start + 1), bad.message, bad.suggestion)


def _parameter(text: str, value: str, key: re.Match[str], end: int) -> bool | int | float | str:
    """A free setting: a word, number, true or false, as in a suite file."""
    try:
        node, problems = read_yaml(value, SourceText.of_text("<arm>", value))
    except BadText:
        node, problems = None, []
    if problems or not isinstance(node, YamlScalar) or node.value is None:
        start = key.end() + 1
        _fail(text, start, max(end, start + 1), "expected a number, a word, true or false")
    return node.value


def _meant(key: str) -> str:
    """What an unknown key was probably meant to be."""
    if key in SETTINGS:
        return f"did you mean 'set.{key}'?"
    if key.isupper():
        return f"did you mean 'env.{key}'?"
    return near_word(key, _KEYS) or f"choose from {', '.join(_KEYS)}"


def _fail(text: str, start: int, end: int, message: str, suggestion: str = "") -> NoReturn:
    carets = "^" * max(1, end - start)
    below = f"  {' ' * start}{carets} {suggestion}".rstrip()
    raise UsageError(f"the arm cannot be read: {message}\n  {text}\n{below}", hint=_EXAMPLE)


def arm_from_items(name: str, items: Mapping[str, str]) -> ArmText:
    """The arm from its items by key, unquoted, as `ArmText.given` has them. UsageError for one that cannot be read."""
    words = {
        key: value if re.fullmatch(r"[^\s,'\"]+", value) else "'" + value.replace("'", "'\"'\"'") + "'"
        for key, value in items.items()
    }
    return parse_arm(f"{name}={', '.join(f'{key}={word}' for key, word in words.items())}")
