"""YAML text as a tree in which every key and value has its place in the file.

PyYAML composes the text and never constructs anything: only mappings, lists and plain values can come out. Plain values
follow YAML 1.2: only `true` and `false` are booleans, so `off`, `no` and `on` stay words, `1e-3` is a number and `1:30`
is text. Size, depth and unfolded aliases are bounded, so that no file can exhaust memory.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import BaseResolver

from gpubench.suite.read.problems import Mark, Path, Problem, SourceText, error, path_text

MAX_DEPTH = 20
MAX_NODES = 50_000

_AS_WRITTEN = frozenset({"env", "input", "shape"})
"""Settings whose values are text: here `3.10` is not 3.1, nor `0x4` 4."""

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "null": re.compile(r"(~|null|Null|NULL|)\Z"),
    "bool": re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"),
    "int": re.compile(r"([-+]?[0-9]{1,400}|0x[0-9a-fA-F]{1,300}|0o[0-7]{1,300})\Z"),
    "float": re.compile(
        r"([-+]?(\.[0-9]+|[0-9]{1,400}(\.[0-9]*)?)([eE][-+]?[0-9]{1,9})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
}
"""Types of unquoted words in the core schema of YAML 1.2; absurdly long numbers stay words."""


@dataclass(frozen=True)
class YamlScalar:
    mark: Mark
    value: str | int | float | bool | None


@dataclass(frozen=True)
class YamlList:
    mark: Mark
    elements: "list[YamlNode]"


@dataclass(frozen=True)
class YamlEntry:
    key_mark: Mark
    node: "YamlNode"


@dataclass(frozen=True)
class YamlMapping:
    mark: Mark
    entries: dict[str, YamlEntry] = field(default_factory=dict)

    def get(self, key: str) -> "YamlNode | None":
        entry = self.entries.get(key)
        return None if entry is None else entry.node

    def with_entry(self, key: str, entry: YamlEntry) -> "YamlMapping":
        """A copy with an entry added or replaced; a replaced key keeps its place in the order."""
        return YamlMapping(self.mark, {**self.entries, key: entry})

    def without(self, key: str) -> "YamlMapping":
        return YamlMapping(self.mark, {name: entry for name, entry in self.entries.items() if name != key})


YamlNode = YamlScalar | YamlList | YamlMapping


def plain(node: YamlNode) -> Any:
    """Dictionaries, lists and values."""
    if isinstance(node, YamlMapping):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    return [plain(element) for element in node.elements] if isinstance(node, YamlList) else node.value


def find(root: YamlNode, path: Path) -> YamlNode | None:
    """The node at `path`; None if there is none."""
    *_, last = nodes = list(_along(root, path))
    return last if len(nodes) == len(path) + 1 else None


def paths_of(node: YamlNode, value: str, path: Path = ()) -> Iterator[Path]:
    """The places of this text as a value, from the top of the file."""
    if isinstance(node, YamlScalar):
        if node.value == value:
            yield path
        return
    inside = enumerate(node.elements) if isinstance(node, YamlList) else ((k, e.node) for k, e in node.entries.items())
    for part, inner in inside:
        yield from paths_of(inner, value, (*path, part))


def existing(root: YamlNode, path: Path) -> Path:
    """The longest beginning of `path` that exists."""
    return path[: len(list(_along(root, path))) - 1]


def value_mark(root: YamlNode, path: Path) -> Mark:
    """The place of the value at `path`, or of the deepest existing value above it."""
    *_, last = _along(root, path)
    return last.mark


def key_mark(root: YamlNode, path: Path) -> Mark:
    """The place of the last key of `path`; for a list element or a missing key, that of its value."""
    parent = find(root, path[:-1])
    if path and isinstance(parent, YamlMapping) and path[-1] in parent.entries:
        return parent.entries[str(path[-1])].key_mark
    return value_mark(root, path)


def _along(root: YamlNode, path: Path) -> Iterator[YamlNode]:
    """The root, and one node per part of `path` for as long as they exist."""
    node: YamlNode | None = root
    yield root
    for part in path:
        if isinstance(node, YamlMapping) and isinstance(part, str):
            node = node.get(part)
        elif isinstance(node, YamlList) and isinstance(part, int) and part < len(node.elements):
            node = node.elements[part]
        else:
            return
        if node is None:
            return
        yield node


class BadText(Exception):  # noqa: N818 - a verdict on text, carried to where problems are collected
    """Text that cannot be read on from here. `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_yaml(text: str, source: SourceText, path: Path = ()) -> tuple[YamlNode, list[Problem]]:
    """The one document in `text`, and the mistakes that do not stop reading (duplicate keys). BadText for others.

    `path` says where in a suite the text stands: numbers below `env` and `shape` stay as they are written.
    """
    odd = _UNPRINTABLE.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start())
        mark = Mark(source, line, odd.start() - text.rfind("\n", 0, odd.start()) - 1, 1)
        raise BadText(error("", f"character U+{ord(odd[0]):04X} is not allowed in a suite file", mark))
    try:
        root, tree = _BoundedComposer(text).document(), _Tree(source)
        return (YamlScalar(Mark(source), None) if root is None else tree.node(root, path)), tree.problems
    except _Refused as refused:
        raise BadText(error("", str(refused), _mark(refused.place, source))) from refused
    except yaml.MarkedYAMLError as found:
        raise BadText(_syntax_error(found, source)) from found


class _Refused(Exception):  # noqa: N818 - becomes a BadText
    """YAML that a suite file does not allow. `place` is PyYAML's event or node."""

    def __init__(self, message: str, place: Any) -> None:
        super().__init__(message)
        self.place = place


class _BoundedComposer(Composer, BaseResolver):
    """PyYAML's composer with bounds, without tags, and without aliases inside their own anchor."""

    def __init__(self, text: str) -> None:
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.yaml_implicit_resolvers = {None: [(_TAG + name, pattern) for name, pattern in _PLAIN.items()]}
        parser = _PARSER(text)
        self.check_event, self.peek_event, self.get_event = parser.check_event, parser.peek_event, parser.get_event
        self._num_nodes, self._depth = 0, -1
        self._sizes: dict[str, int | None] = {}
        """Nodes below each anchor, aliases unfolded; None while it is being read."""

    def document(self) -> yaml.Node | None:
        root = self.get_node() if self.check_node() else None
        if self.check_node():
            raise _Refused("a suite file holds one document, and here a second begins", self.peek_event())
        return root

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        is_key = parent is not None and index is None
        if is_key and not isinstance(event, yaml.ScalarEvent):
            raise _Refused("a key must be a word", event)
        if is_key and event.value == "<<" and event.implicit[0]:
            raise _Refused("merge keys are not part of a suite file; put what is shared into `defaults`", event)
        if isinstance(event, yaml.ScalarEvent) and "\0" in event.value:
            raise _Refused("text with a NUL character, which no path, variable or name can hold", event)
        anchor, before = event.anchor, self._num_nodes
        size = None if is_key else 1
        if isinstance(event, yaml.AliasEvent):
            size = self._sizes.get(anchor)
            if size is None:
                inside = anchor in self._sizes
                raise _Refused(f"*{anchor} contains itself" if inside else f"&{anchor} is not defined above", event)
        elif event.tag == "!":
            event.tag = f"{_TAG}str"  # PyYAML would resolve a tagged word like an unquoted one.
        elif event.tag not in (None, f"{_TAG}str"):
            raise _Refused(f"the tag {event.tag.replace(_TAG, '!!')[:60]} is not part of a suite file", event)
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(anchor, None)  # YAML lets an anchor be given again, PyYAML does not.
            self._sizes[anchor] = None
        self._num_nodes += size or 0
        if self._num_nodes > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES:,} values (aliases unfolded)", event)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor is not None:
            self._sizes[anchor] = self._num_nodes - before
        return node


class _Tree:
    """Turns PyYAML's nodes into the tree; a duplicate key keeps its first value."""

    def __init__(self, source: SourceText) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._made: dict[yaml.Node, YamlNode] = {}

    def node(self, node: yaml.Node, path: Path) -> YamlNode:
        mark = _mark(node, self._source)
        if isinstance(node, yaml.ScalarNode):
            value = _value_of(node)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return YamlScalar(mark, str(node.value) if is_number and not _AS_WRITTEN.isdisjoint(path) else value)
        if node not in self._made:
            if isinstance(node, yaml.MappingNode):
                self._made[node] = YamlMapping(mark, self._entries(node, path))
            else:
                elements = [self.node(each, (*path, at)) for at, each in enumerate(node.value)]
                self._made[node] = YamlList(mark, elements)
        return self._made[node]

    def _entries(self, mapping: yaml.MappingNode, path: Path) -> dict[str, YamlEntry]:
        entries: dict[str, YamlEntry] = {}
        for key_node, node in mapping.value:
            key, mark = str(key_node.value), _mark(key_node, self._source)
            entry = YamlEntry(mark, self.node(node, (*path, key)))
            first = entries.setdefault(key, entry)
            if first is not entry:
                message = f"duplicate key, first given in line {first.key_mark.line + 1}"
                self.problems.append(error(path_text((*path, key)), message, mark))
        return entries


def _value_of(node: yaml.Node) -> str | int | float | bool | None:
    text, kind = str(node.value), node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, 16 if text.startswith("0x") else 8 if text.startswith("0o") else 10)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _mark(place: Any, source: SourceText) -> Mark:
    """The mark of a PyYAML event or node: all of a word on one line, else the start."""
    start, end = place.start_mark, place.end_mark
    is_word = isinstance(place, yaml.ScalarEvent | yaml.ScalarNode) and end.line == start.line
    return Mark(source, start.line, start.column, end.column - start.column if is_word else 1)


def _syntax_error(found: yaml.MarkedYAMLError, source: SourceText) -> Problem:
    place, last = found.problem_mark or found.context_mark, len(source.lines) - 1
    mark = Mark(source) if place is None else Mark(source, place.line, place.column, 1)
    if mark.line > last:
        mark = Mark(source, last, len(source.lines[last]), 1)
    if source.lines[mark.line].startswith("\t", mark.column):
        return error("", "a tab cannot indent YAML", mark, "use spaces")
    said = ", ".join(part for part in (found.context, found.problem) if part)
    return error("", f"not YAML: {said or 'cannot be parsed'}", mark)
