"""The language of `--arm`: `head='git=main, env.OMP_NUM_THREADS=2, set.precision=amp-bf16'`.

    arm:    NAME | NAME "=" item ((","|" ") item)*
    item:   "python=" PATH | "git=" REVISION | "env." VARIABLE "=" TEXT | "set." SETTING "=" VALUE

A value with blanks or commas stands in quotes, single or double. An arm without items is the suite as it is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gpubench.core.errors import UsageError
from gpubench.suite.model.settings import SETTINGS, BadValue, normal
from gpubench.suite.model.synonyms import near_word

MOST_ARMS = 8

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ITEM = re.compile(r"""(?P<key>[^\s,='"]+)(?P<equals>=?)(?P<value>(?:"[^"]*"|'[^']*'|[^\s,'"])*)""")
_PIECE = re.compile(r""""([^"]*)"|'([^']*)'|([^\s,'"]+)""")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYS = ("python", "git", "env.NAME", "set.NAME")
_NULLS = ("null", "none", "None")
_EXAMPLE = "An arm looks like: --arm head='python=.venv/bin/python, env.NAME=1, git=main, set.precision=amp-bf16'"


@dataclass(frozen=True)
class ArmText:
    """One arm as it was written. `given` is every item by its key, in order, unquoted; `settings` in the form a case
    holds.
    """

    name: str
    python: str | None = None
    git: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)


def parse_arms(texts: Sequence[str]) -> tuple[ArmText, ...]:
    """The arms, the reference first. UsageError for fewer than two, more than eight, a name twice, or one that cannot
    be read.
    """
    arms = tuple(parse_arm(text) for text in texts)
    names = [arm.name for arm in arms]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise UsageError(f"two arms are called {twice!r}", hint="Every arm needs a name of its own.")
    if not 2 <= len(arms) <= MOST_ARMS:
        found = "there is one" if len(arms) == 1 else f"there are {len(arms)}"
        raise UsageError(
            f"a comparison takes 2 to {MOST_ARMS} arms, and {found}", hint=f"{_EXAMPLE} (the first is the reference)."
        )
    return arms


def parse_arm(text: str) -> ArmText:
    """UsageError with a caret below what is wrong."""
    name, _, items = text.partition("=")
    if not _NAME.fullmatch(name.strip()):
        _fail(text, 0, max(1, len(name)), "its name must be letters, digits, `.`, `-` and `_`, at most 40")
    return _Arm(text, name.strip(), len(name) + 1 if items else len(text)).whole()


class _Arm:
    """Reads the items of one arm, which begin at `start`."""

    def __init__(self, text: str, name: str, start: int) -> None:
        self._text, self._name, self._start = text, name, start
        self._given: dict[str, str] = {}
        self._env: dict[str, str] = {}
        self._settings: dict[str, Any] = {}

    def whole(self) -> ArmText:
        at = self._skip(self._start)
        while at < len(self._text):
            item = _ITEM.match(self._text, at)
            if item is None:
                _fail(self._text, at, at + 1, "expected a key such as `python=` or `set.precision=` here")
            self._take(item)
            at = self._skip(item.end())
        given = self._given
        return ArmText(self._name, given.get("python"), given.get("git"), self._env, self._settings, given)

    def _skip(self, at: int) -> int:
        while at < len(self._text) and (self._text[at].isspace() or self._text[at] == ","):
            at += 1
        return at

    def _take(self, item: re.Match[str]) -> None:
        key, value, start = item["key"], _unquoted(item["value"]), item.start()
        self._check_end(item)
        if key in self._given:
            _fail(self._text, start, item.end("key"), f"{key} is given twice")
        kind, dot, rest = key.partition(".")
        if kind == "set" and dot:
            self._settings[rest] = self._setting(rest, item)
        elif kind == "env" and dot:
            if not _VARIABLE.fullmatch(rest):
                _fail(self._text, start, item.end("key"), f"{rest!r} is not a name of an environment variable")
            self._env[rest] = value
        elif key not in ("python", "git"):
            _fail(self._text, start, item.end("key"), f"an arm has no {key!r}", _meant(key))
        elif not value:
            _fail(self._text, item.end(), item.end() + 1, "expected a value")
        self._given[key] = value

    def _check_end(self, item: re.Match[str]) -> None:
        end = item.end()
        if not item["equals"]:
            _fail(self._text, item.start(), item.end("key"), "expected `=` and a value")
        if end < len(self._text) and self._text[end] in "'\"":
            _fail(self._text, end, end + 1, "a quote is not closed")

    def _setting(self, name: str, item: re.Match[str]) -> Any:
        start = item.start()
        if name in ("python", "env"):
            instead = "python=PATH" if name == "python" else "env.NAME=VALUE"
            _fail(self._text, start, item.end("key"), f"set.{name} is not how an arm gets one", f"write {instead}")
        if name not in SETTINGS:
            _fail(self._text, start, item.end("key"), f"there is no setting {name!r}", near_word(name, SETTINGS))
        text = _unquoted(item["value"])
        quoted = item["value"][:1] in ("'", '"')
        try:
            return normal(name, None if text in _NULLS and not quoted else text)
        except BadValue as bad:
            _fail(
                self._text, item.start("value"), max(item.end(), item.start("value") + 1), bad.message, bad.suggestion
            )


def _unquoted(text: str) -> str:
    return "".join(next(part for part in piece if part is not None) for piece in _pieces(text))


def _pieces(text: str) -> list[tuple[str | None, ...]]:
    return [match.groups() for match in _PIECE.finditer(text)]


def _meant(key: str) -> str:
    """What an item that is none was meant to be."""
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
    quoted = ", ".join(f"{key}={_quoted(value)}" for key, value in items.items())
    return parse_arm(f"{name}={quoted}")


def _quoted(value: str) -> str:
    if value and not re.search(r"[\s,'\"]", value):
        return value
    mark = "'" if "'" not in value else '"'
    if mark not in value:
        return f"{mark}{value}{mark}"
    # Both kinds of quotes: pieces in turn, each in the other kind.
    return "".join(f"'{piece}'" if '"' in piece else f'"{piece}"' for piece in re.findall(r"[^']+|'+", value))
