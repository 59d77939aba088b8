"""The step trees of two arms, merged node by node."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

from gpubench.profile.figures.step_tree import IDLE, Node
from gpubench.stats.estimators import trimmed_location

ChangeKind = Literal["same", "changed", "added", "gone"]
_Key = tuple[ChangeKind, str, str]
OWN: _Key = ("same", "", "")
"""A node's own time, without its children: on the host, Python and waiting."""

Times = Callable[[int], float]
"""Nanoseconds per step, by window."""
Shares = Callable[[Times, Times], list[float]]


@dataclass
class ChangeGroup:
    """Nodes of one name at the same place of both trees. `moved`: change per turn of the time not spent in
    children; `share`: the larger of both sides' total times, as a share of the reference's step.
    """

    key: _Key
    moved: list[float]
    calls: tuple[float, float] = (0.0, 0.0)
    children: "dict[_Key, ChangeGroup]" = field(default_factory=dict)
    pairs: list[tuple[Node | None, Node | None]] = field(default_factory=list)
    node_kind: str = "host"
    share: float = 0.0

    @property
    def name(self) -> str:
        return self.key[2] or self.key[1]

    def total(self) -> list[float]:
        totals = [self.moved, *(each.total() for each in self.children.values())]
        return [sum(values) for values in zip(*totals, strict=True)]


def grouped(reference: Node, candidate: Node, shares: Shares) -> ChangeGroup:
    """Merges both trees: nodes of one name under the same ancestors become one group."""
    root = ChangeGroup(("same", "", ""), shares(lambda _: 0.0, lambda _: 0.0))

    def fill(group: ChangeGroup, pairs: Sequence[tuple[Node, Node]]) -> None:
        for before, after in pairs:
            for kind, ours, theirs in matched(before, after, phases=group is root):
                key = (kind, _several(ours), _several(theirs))
                moved = shares(_own(ours), _own(theirs)) if kind == "same" else shares(_whole(ours), _whole(theirs))
                calls = (_calls(ours, len(moved)), _calls(theirs, len(moved)))
                if key not in group.children:
                    group.children[key] = ChangeGroup(key, [0.0] * len(moved), node_kind=(ours or theirs)[0].kind)
                child = group.children[key]
                child.moved = [x + y for x, y in zip(child.moved, moved, strict=True)]
                child.share += max(trimmed_location(shares(_whole(()), _whole(nodes))).mean for nodes in (ours, theirs))
                child.calls = (child.calls[0] + calls[0], child.calls[1] + calls[1])
                child.pairs.append((ours[0] if len(ours) == 1 else None, theirs[0] if len(theirs) == 1 else None))
        for key, child in group.children.items():
            if key[0] == "same":
                fill(child, [(a, b) for a, b in child.pairs if a is not None and b is not None])

    fill(root, [(reference, candidate)])
    return root


def _own(nodes: Sequence[Node]) -> Times:
    return lambda window: sum(node.own_ns[window] for node in nodes)


def _whole(nodes: Sequence[Node]) -> Times:
    return lambda window: sum(node.total_ns(window) for node in nodes)


def _calls(nodes: Sequence[Node], turns: int) -> float:
    return sum(sum(node.calls[window] for window in range(turns)) for node in nodes) / turns


def _several(nodes: Sequence[Node]) -> str:
    names = list(dict.fromkeys(node.name for node in nodes))
    return "" if not names else names[0] if len(names) == 1 else f"{names[0]} and {len(nodes) - 1} more"


def matched(
    before: Node, after: Node, *, phases: bool
) -> Iterator[tuple[ChangeKind, tuple[Node, ...], tuple[Node, ...]]]:
    """Pairs the children of two nodes by name and order. Where names differ, equal numbers of children are paired one
    to one as `changed`; different numbers are one `changed` group.
    """
    ours, theirs = list(before.children.values()), list(after.children.values())
    if phases:
        names = dict.fromkeys([node.name for node in (*ours, *theirs)])
        for name in names:
            a, b = (tuple(node for node in nodes if node.name == name) for nodes in (ours, theirs))
            yield "same", a or (Node(name),), b or (Node(name),)
        return
    matcher = SequenceMatcher(None, [node.name for node in ours], [node.name for node in theirs], autojunk=False)
    for what, a0, a1, b0, b1 in matcher.get_opcodes():
        if what == "equal":
            yield from (("same", (a,), (b,)) for a, b in zip(ours[a0:a1], theirs[b0:b1], strict=True))
        elif what == "delete":
            yield from (("gone", (a,), ()) for a in ours[a0:a1])
        elif what == "insert":
            yield from (("added", (), (b,)) for b in theirs[b0:b1])
        elif a1 - a0 == b1 - b0:
            yield from (("changed", (a,), (b,)) for a, b in zip(ours[a0:a1], theirs[b0:b1], strict=True))
        else:
            yield "changed", tuple(ours[a0:a1]), tuple(theirs[b0:b1])


def all_of(group: ChangeGroup) -> Iterator[ChangeGroup]:
    yield group
    for each in group.children.values():
        yield from all_of(each)


def by_kind(root: ChangeGroup) -> dict[str, list[float]]:
    """The change of kernels, copies and idle time, per turn."""
    found: dict[str, list[float]] = {}

    def walk(group: ChangeGroup, *, idle: bool) -> None:
        kind = "idle" if idle else group.node_kind
        known = found.get(kind, [0.0] * len(group.moved))
        found[kind] = [x + y for x, y in zip(known, group.moved, strict=True)]
        for each in group.children.values():
            walk(each, idle=idle or each.key[1] == IDLE)

    walk(root, idle=False)
    return found
