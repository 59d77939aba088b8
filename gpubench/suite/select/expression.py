"""The language of `-k`: `precision=bf16 and (batch_size>=64 or not cudnn_benchmark)`.

    or:          and ("or" and)*
    and:         not ("and" not)*
    not:         "not" not | "(" or ")" | comparison
    comparison:  NAME | NAME OPERATOR VALUE ("," VALUE)* | NAME ["not"] "in" "(" VALUE ("," VALUE)* ")"

OPERATOR is `=` `==` `!=` `<` `<=` `>` `>=` `~` (contains) or `!~`. A NAME alone is a yes-or-no setting that is on;
`env.NAME` is an environment variable, `params.NAME` a parameter of the workload. Several values mean any of them.
"""

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.suite.model.mistake_messages import near_word
from gpubench.suite.model.settings import SETTINGS, BadValue, is_number, is_switch, normal
from gpubench.suite.select.patterns import Test, compiled, fits

_TOKEN = re.compile(
    r"\s*(?:(?P<op>==|!=|<=|>=|!~|[=<>~(),])|(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<word>[^\s=<>!~(),'\"]+))"
)
_MEMBER = re.compile(r"(env|params)\.(.+)")
_KEYWORDS = ("and", "or", "not", "in")
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_LONGEST = 4000
_DEEPEST = 50


@dataclass(frozen=True)
class Selection:
    """A parsed expression. `text` is as it was given."""

    text: str
    _test: Test = field(repr=False, compare=False)

    def matches(self, case: Case) -> bool:
        return self._test(case.settings)


def parse_selection(text: str) -> Selection:
    """The selection that `text` says, in the language above.

    UsageError with a caret below what is wrong, and what was probably meant.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"The selection is longer than {_LONGEST} characters.")
    return Selection(text, _SelectionParser(text).whole())


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _SelectionParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._at = 0
        self._depth = 0

    def whole(self) -> Test:
        test = self._or()
        if self._now.kind != "end":
            self._fail("expected `and`, `or` or the end", self._now)
        return test

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                self._fail("this cannot be read", _Token("?", self._text[start : start + 1], start, start + 1))
            kind = match.lastgroup or ""
            text, start = match[kind], match.start(kind)
            if kind == "word" and text.lower() in _KEYWORDS:
                kind, text = "keyword", text.lower()
            tokens.append(_Token(kind, text, start, match.end()))
            at = match.end()
        return [*tokens, _Token("end", "", end, end)]

    def _take(self) -> _Token:
        token = self._now
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _took(self, *texts: str) -> bool:
        """Takes the next token if it is one of these, unquoted."""
        if self._now.kind in ("op", "keyword") and self._now.text in texts:
            self._take()
            return True
        return False

    def _expect(self, text: str, message: str) -> None:
        if not self._took(text):
            self._fail(message, self._now)

    def _or(self) -> Test:
        tests = [self._and()]
        while self._took("or"):
            tests.append(self._and())
        return _any(tests)

    def _and(self) -> Test:
        tests = [self._not()]
        while self._took("and"):
            tests.append(self._not())
        return tests[0] if len(tests) == 1 else lambda settings: all(test(settings) for test in tests)

    def _not(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"nested deeper than {_DEEPEST} levels", self._now)
        if self._took("not"):
            test = _denied(self._not())
        elif self._took("("):
            test = self._or()
            self._expect(")", "expected `)`")
        else:
            test = self._comparison()
        self._depth -= 1
        return test

    def _comparison(self) -> Test:
        name = self._name()
        if self._now.kind == "keyword" and self._now.text in ("not", "in"):
            denied = self._took("not")
            self._expect("in", "expected `in`")
            self._expect("(", "expected `(` and values")
            values = self._values()
            self._expect(")", "expected `)`")
            test = _any([self._equals(name, each) for each in values])
            return _denied(test) if denied else test
        if self._now.kind != "op" or self._now.text in ("(", ")", ","):
            if not (name.text in SETTINGS and is_switch(name.text)):
                after = _Token("?", "", name.end, name.end)
                self._fail("expected `=` and a value: only a yes-or-no setting can stand alone", after)
            return lambda settings: bool(settings[name.text])
        sign = self._take()
        if sign.text in _ORDER:
            return self._ordered(name, sign)
        values = self._values()
        tests = [self._contains(name, each) if "~" in sign.text else self._equals(name, each) for each in values]
        return _denied(_any(tests)) if sign.text.startswith("!") else _any(tests)

    def _name(self) -> _Token:
        token = self._take()
        if token.kind not in ("word", "keyword"):
            self._fail("expected the name of a setting", token)
        if token.text not in SETTINGS and not _MEMBER.fullmatch(token.text):
            self._fail(f"there is no setting {token.text!r}", token, near_word(token.text, SETTINGS))
        return token

    def _values(self) -> list[_Token]:
        values = [self._value()]
        while self._took(","):
            values.append(self._value())
        return values

    def _value(self) -> _Token:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            self._fail("expected a value", token)
        return token

    def _equals(self, name: _Token, value: _Token) -> Test:
        held = self._normal(name, value)
        member = _MEMBER.fullmatch(name.text)
        pattern = compiled({name.text: held} if member is None else {member[1]: {member[2]: held}})
        return lambda settings: fits(settings, pattern)

    def _ordered(self, name: _Token, sign: _Token) -> Test:
        if name.text not in SETTINGS or not is_number(name.text):
            self._fail(f"{name.text} has no order", sign, "use = or !=")
        limit, compare = self._normal(name, self._value()), _ORDER[sign.text]
        if not isinstance(limit, int | float):
            self._fail("expected a number", self._tokens[self._at - 1])

        def test(settings: Mapping[str, Any]) -> bool:
            actual = settings[name.text]
            return isinstance(actual, int | float) and bool(compare(actual, limit))

        return test

    def _contains(self, name: _Token, value: _Token) -> Test:
        part, member = _unquoted(value).lower(), _MEMBER.fullmatch(name.text)

        def test(settings: Mapping[str, Any]) -> bool:
            held = settings[name.text] if member is None else settings[member[1]].get(member[2], "")
            text = " ".join(f"{key}={each}" for key, each in held.items()) if isinstance(held, dict) else str(held)
            return part in text.lower()

        return test

    def _normal(self, name: _Token, value: _Token) -> Any:
        text = _unquoted(value)
        if _MEMBER.fullmatch(name.text):
            return text
        if name.text in ("env", "params"):
            what = {"env": "variables", "params": "parameters"}[name.text]
            self._fail(f"`{name.text}` holds several {what}", name, f"name one: {name.text}.NAME=value")
        given = None if value.kind == "word" and text in ("null", "none", "None") else text
        try:
            return normal(name.text, given)
        except BadValue as bad:
            self._fail(bad.message, value, bad.suggestion)

    def _fail(self, message: str, token: _Token, suggestion: str = "") -> NoReturn:
        carets = "^" * max(1, token.end - token.start)
        below = f"  {' ' * token.start}{carets} {suggestion}".rstrip()
        raise UsageError(
            f"the selection cannot be read: {message}\n  {self._text}\n{below}",
            hint="A selection looks like: -k 'precision=amp-bf16 and batch_size>=64'",
        )


def _unquoted(token: _Token) -> str:
    return token.text[1:-1] if token.kind == "quoted" else token.text


def _any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda settings: any(test(settings) for test in tests)


def _denied(test: Test) -> Test:
    return lambda settings: not test(settings)
