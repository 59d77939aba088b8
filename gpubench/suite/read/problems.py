"""Mistakes in a suite, each with its place."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpubench.core.errors import SuiteError

_MOST_SHOWN = 50
_MOST_COLUMNS = 100
_LEAST_COLUMNS = 20
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # those of YAML 1.1


Path = Sequence[str | int]


def path_text(path: Path) -> str:
    """`("matrix", "precision", 2)` -> `matrix.precision[2]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


@dataclass(frozen=True)
class SourceText:
    """The lines of a file, or the one line of a command-line option (`option`)."""

    name: str
    lines: tuple[str, ...] = ()
    option: bool = False

    @classmethod
    def of_text(cls, name: str, text: str) -> "SourceText":
        return cls(name, tuple(_LINE_BREAK.split(text)))


@dataclass(frozen=True)
class Mark:
    """Part of one line of a source. Line and column count from 0; `length` 0 is a point."""

    source: SourceText
    line: int = 0
    column: int = 0
    length: int = 0

    def __str__(self) -> str:
        if self.source.option:
            return self.source.name
        return f"{self.source.name}:{self.line + 1}:{self.column + 1}"


@dataclass(frozen=True)
class Problem:
    """One mistake or oddity. `path` says where in the suite (`matrix.precision[2]`), `mark` where in the text."""

    severity: Literal["error", "warning"]
    path: str
    message: str
    mark: Mark
    suggestion: str = ""

    def __str__(self) -> str:
        return self.shown()

    def shown(self, width: int | None = None) -> str:
        """The message with its line quoted, cut around the mark if longer than `width` (by default about 100
        columns).
        """
        head = f"{self.mark} {self.severity} {self.path}".rstrip()
        snippet = _snippet(self.mark, self.suggestion, width)
        if snippet:
            return f"{head}: {self.message}\n{snippet}"
        return f"{head}: {self.message}{', ' if self.suggestion else ''}{self.suggestion}"


def error(path: str, message: str, mark: Mark, suggestion: str = "") -> Problem:
    return Problem("error", path, message, mark, suggestion)


def warning(path: str, message: str, mark: Mark, suggestion: str = "") -> Problem:
    return Problem("warning", path, message, mark, suggestion)


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Without duplicates: options first, as found, then the file from top to bottom."""
    unique = dict.fromkeys(problems)
    options = [each for each in unique if each.mark.source.option]
    in_file = [each for each in unique if not each.mark.source.option]
    return (*options, *sorted(in_file, key=lambda each: (each.mark.line, each.mark.column)))


def suite_error(problems: Sequence[Problem]) -> SuiteError:
    """One error for all of them; its last line counts them."""
    ordered = in_order(problems)
    return SuiteError(as_text(ordered), ordered)


def as_text(ordered: Sequence[Problem], width: int | None = None) -> str:
    """Every problem with its place (`width`: see `Problem.shown`), and the number of errors."""
    shown = [problem.shown(width) for problem in ordered[:_MOST_SHOWN]]
    if len(ordered) > _MOST_SHOWN:
        shown.append(f"... and {len(ordered) - _MOST_SHOWN} more")
    num_errors = sum(problem.severity == "error" for problem in ordered)
    shown.append(f"{num_errors} error{'' if num_errors == 1 else 's'}. Nothing ran.")
    return "\n".join(shown)


def _snippet(mark: Mark, suggestion: str, width: int | None) -> str:
    """The line with a caret below the mark; a long line is cut around it. Empty if the source has no such line."""
    if mark.line >= len(mark.source.lines) or not mark.source.lines[mark.line].strip():
        return ""
    text, column, length = mark.source.lines[mark.line].replace("\t", " ").rstrip(), mark.column, mark.length
    gutter = "" if mark.source.option else str(mark.line + 1)
    most = _MOST_COLUMNS if width is None else max(_LEAST_COLUMNS, width - len(gutter) - len("   |  ......"))
    if _columns(text) > most:
        start = max(0, column - 2 * most // 5)
        while _columns(text[start:column]) > most // 2:  # wide characters
            start += 1
        end = start + most
        while _columns(text[start:end]) > most:
            end -= 1
        head, tail = "..." if start else "", "..." if end < len(text) else ""
        text = f"{head}{text[start:end]}{tail}"
        column, length = column - start + len(head), min(length, end - column)
    margin, indent = " " * len(gutter), " " * _columns(text[:column])
    carets = "^" * max(1, min(length, len(text) - column))
    below = f"  {margin} | {indent}{carets}"
    if width is not None and suggestion and len(below) + 1 + len(suggestion) > width:
        below += f"\n  {margin}   {suggestion}"
        suggestion = ""
    return f"  {gutter} | {text}\n{below} {suggestion}".rstrip()


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
