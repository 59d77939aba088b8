"""From a path inside a suite to its place in the text."""

from gpubench.suite.read.problems import Mark, Path
from gpubench.suite.read.yaml_document import Items, Mapping, Node


def find(root: Node, path: Path) -> Node | None:
    """The node at `path`; None where there is none."""
    node: Node | None = root
    for part in path:
        node = _child(node, part)
    return node


def value_mark(root: Node, path: Path) -> Mark:
    """Where the value at `path` stands, or the deepest value above it that stands anywhere."""
    node = root
    for part in path:
        child = _child(node, part)
        if child is None:
            break
        node = child
    return node.mark


def key_mark(root: Node, path: Path) -> Mark:
    """Where the last key of `path` stands; an element of a list, or a key that is not there, by its value's place."""
    parent = find(root, path[:-1]) if path else None
    if isinstance(parent, Mapping) and path[-1] in parent.entries:
        return parent.entries[str(path[-1])].key_mark
    return value_mark(root, path)


def existing(root: Node, path: Path) -> tuple[str | int, ...]:
    """The longest beginning of `path` that is there."""
    node: Node | None = root
    kept: list[str | int] = []
    for part in path:
        node = _child(node, part)
        if node is None:
            break
        kept.append(part)
    return tuple(kept)


def _child(node: Node | None, part: str | int) -> Node | None:
    if isinstance(node, Mapping) and isinstance(part, str):
        return node.get(part)
    if isinstance(node, Items) and isinstance(part, int) and part < len(node.elements):
        return node.elements[part]
    return None
