"""YAML text as a tree in which every key and value knows its place.

The text is parsed by PyYAML and never by its constructors: nothing but mappings, lists and plain values can come out.
Plain values follow YAML 1.2: only `true` and `false` are booleans, so `off`, `no` and `on` stay words, `1e-3` is a
number and `1:30` is text. The tree is bounded in size, depth and what aliases may unfold to, so that no file can
exhaust memory.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from gpubench.suite.read.problems import Mark, Problem, Source, error, path_text

MAX_DEPTH = 20
MAX_NODES = 50_000

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?[0-9]{1,400}|0x[0-9a-fA-F]{1,300}|0o[0-7]{1,300}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]{1,400}(\.[0-9]*)?)([eE][-+]?[0-9]{1,9})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")


@dataclass(frozen=True)
class Scalar:
    mark: Mark
    value: str | int | float | bool | None
    size = 1


@dataclass
class Items:
    """A list."""

    mark: Mark
    elements: list["Node"] = field(default_factory=list)
    size: int = 1


@dataclass(frozen=True)
class Entry:
    key_mark: Mark
    node: "Node"


@dataclass
class Mapping:
    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1

    def get(self, key: str) -> "Node | None":
        entry = self.entries.get(key)
        return None if entry is None else entry.node

    def with_entry(self, key: str, entry: Entry) -> "Mapping":
        """The same with one more, or another, entry; a replaced key keeps its place in the order."""
        return Mapping(self.mark, {**self.entries, key: entry}, self.size + entry.node.size)

    def without(self, key: str) -> "Mapping":
        return Mapping(self.mark, {name: entry for name, entry in self.entries.items() if name != key}, self.size)


Node = Scalar | Items | Mapping


def plain(node: Node) -> Any:
    """Dictionaries, lists and values."""
    if isinstance(node, Mapping):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    return [plain(element) for element in node.elements] if isinstance(node, Items) else node.value


class BadText(Exception):  # noqa: N818 - a verdict on text, carried to whoever collects problems
    """Text that cannot be read on from here. `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_yaml(text: str, source: Source) -> tuple[Node, list[Problem]]:
    """The one document in `text`, and mistakes after which reading could go on (duplicate keys). BadText otherwise."""
    odd = _UNPRINTABLE.search(text)
    if odd is not None:
        at = text.count("\n", 0, odd.start())
        mark = Mark(source, at, odd.start() - text.rfind("\n", 0, odd.start()) - 1, 1)
        raise BadText(error("", f"character U+{ord(odd[0]):04X} cannot stand in a suite file", mark))
    builder = _Builder(source)
    try:
        return builder.document(yaml.parse(text, Loader=_PARSER)), builder.problems
    except yaml.MarkedYAMLError as found:
        raise BadText(builder.syntax(found)) from found


class _Builder:
    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._anchors: dict[str, Node | None] = {}
        self._num_nodes = 0
        self._path: list[str | int] = []

    def document(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise BadText(
                        error("", "a suite file holds one document, and here a second begins", self._at(event))
                    )
                root = self._node(next(events), events, 0)
        return Scalar(Mark(self._source), None) if root is None else root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise BadText(error("", f"nested deeper than {MAX_DEPTH} levels", self._at(event)))
        if isinstance(event, yaml.AliasEvent):
            node = self._alias(event)
            self._count(node.size, event)
            return node
        self._count(1, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._check_tag(event)
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(self._at(event), _value_of(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._items(event, events, depth)
        else:
            node = self._mapping(event, events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _items(self, start: Any, events: Iterator[Any], depth: int) -> Items:
        node = Items(self._at(start))
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            node.elements.append(self._child(len(node.elements), event, events, depth))
            node.size += node.elements[-1].size
        return node

    def _mapping(self, start: Any, events: Iterator[Any], depth: int) -> Mapping:
        node = Mapping(self._at(start))
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key, mark = self._key(event), self._at(event)
            value = self._child(key, next(events), events, depth)
            node.size += value.size
            if key in node.entries:
                first = node.entries[key].key_mark
                path = path_text([*self._path, key])
                self.problems.append(error(path, f"duplicate key, first given in line {first.line + 1}", mark))
            else:
                node.entries[key] = Entry(mark, value)
        return node

    def _child(self, part: str | int, event: Any, events: Iterator[Any], depth: int) -> Node:
        self._path.append(part)
        node = self._node(event, events, depth + 1)
        self._path.pop()
        return node

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise BadText(error("", "a key must be a word", self._at(event)))
        self._check_tag(event)
        key = str(event.value)
        if key == "<<" and event.implicit[0]:
            message = "merge keys are not part of a suite file; put what is shared into `defaults`"
            raise BadText(error("", message, self._at(event)))
        return key

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            inside = event.anchor in self._anchors
            message = f"*{event.anchor} stands inside itself" if inside else f"there is no &{event.anchor} before"
            raise BadText(error("", message, self._at(event)))
        return node

    def _count(self, number: int, event: Any) -> None:
        self._num_nodes += number
        if self._num_nodes > MAX_NODES:
            raise BadText(error("", f"more than {MAX_NODES:,} values (aliases unfolded)", self._at(event)))

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            raise BadText(error("", f"the tag {shown} is not part of a suite file", self._at(event)))

    def _at(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line and isinstance(event, yaml.ScalarEvent) else 1
        return Mark(self._source, start.line, start.column, length)

    def syntax(self, found: yaml.MarkedYAMLError) -> Problem:
        place = found.problem_mark or found.context_mark
        mark = Mark(self._source) if place is None else Mark(self._source, place.line, place.column, 1)
        last = len(self._source.lines) - 1
        if mark.line > last:
            mark = Mark(self._source, last, len(self._source.lines[last]), 1)
        lines = self._source.lines
        rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
        if rest.startswith("\t"):
            return error("", "a tab cannot indent YAML", mark, "use spaces")
        said = ", ".join(part for part in (found.context, found.problem) if part)
        return error("", f"not YAML: {said or 'cannot be parsed'}", mark)


def _value_of(event: Any) -> str | int | float | bool | None:
    text = str(event.value)
    if event.style or event.tag is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 16 if text.startswith("0x") else 8 if text.startswith("0o") else 10)
    if _FLOAT.fullmatch(text):
        return float(
            text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").lower().replace(".nan", "nan")
        )
    return text
