"""Why a step of one arm takes longer than the other's: attributes the change to phases, operators and kernels.

Both arms are profiled in turn, a few steps (a window) each. Every turn gives one difference between its two windows, as
a share of the reference's step; comparing within turns keeps drift of the machine out of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from gpubench.core.records import Estimate
from gpubench.core.stored_model import Frozen
from gpubench.profile.figures.matched_trees import (
    OWN,
    ChangeGroup,
    ChangeKind,
    Times,
    all_of,
    by_kind,
    grouped,
    matched,
)
from gpubench.profile.figures.step_tree import Node
from gpubench.profile.traces.trace import TensorFact
from gpubench.stats.estimators import trimmed_location

LEAST_TURNS = 5
CERTAIN = 0.01
"""Probability that comparing an arm with itself names any part, divided over all groups that are large enough to be
named (Bonferroni).
"""
LEAST_PART = 0.1
"""Smallest share of the whole change that is named."""
LEAST_SHARE = 0.005
"""Smallest change that is named, as a share of a step."""
MOSTLY = 0.5
"""If its children make up this share of a part's change, they are named instead of it."""
ENOUGH = 0.9
"""If less than this share of the change is attributed, the rest is reported as unexplained."""

_MOST_NOTES = 3


class Part(Frozen):
    """One part of the change. `before` and `after`: its names in reference and candidate (empty if missing there; both
    empty for time outside of operators); `within`: the operators around it; `calls`: how often it runs per step in
    reference and candidate. `notes`: other differences, such as dtypes, shapes or layouts.
    """

    phase: str
    kind: ChangeKind
    before: str
    after: str
    within: tuple[str, ...] = ()
    change: Estimate
    calls: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()


class ChangeExplained(Frozen):
    """Changes are shares of the reference's step time.

    `change` is the one to explain: the verdict's, or, without a verdict, `seen`: what the windows show without a
    profiler. `profiled` is what they show with a profiler. `phases` add up to it; `parts` are its largest certain
    parts, without overlap; `rest` is what remains. `explained` is the share of `change` in `parts`, None if there are
    no parts. `copies` and `idle` are None without device work.
    """

    reference: str
    candidate: str
    turns: int
    steps: int
    one_process: bool
    on_device: bool
    step_time_s: tuple[float, float]
    change: Estimate
    seen: Estimate
    profiled: Estimate
    phases: dict[str, Estimate]
    parts: tuple[Part, ...]
    rest: Estimate
    explained: float | None
    copies: Estimate | None = None
    idle: Estimate | None = None


@dataclass
class ArmWindows:
    """What was recorded of one arm: the tree of its steps, and per window the step time without a profiler and with
    one, in seconds. A step processes `samples` samples.
    """

    name: str
    tree: Node
    samples: float = 1.0
    step_times_s: list[float] = field(default_factory=list)
    profiled_s: list[float] = field(default_factory=list)
    steps: int = 0


def explain(
    reference: ArmWindows, candidate: ArmWindows, *, one_process: bool, judged: Estimate | None = None
) -> ChangeExplained:
    """`judged`: the verdict's change of the step time, as a share of the reference's. If the arms have different
    numbers of samples per step, times per sample are compared.

    ValueError for fewer than five turns, or arms with different numbers of windows.
    """
    turns = len(reference.step_times_s)
    if turns < LEAST_TURNS or len(candidate.step_times_s) != turns:
        raise ValueError(f"an explanation needs at least {LEAST_TURNS} windows of each arm, and as many of both")
    arms = (reference, candidate)
    on_device = any(_kinds(arm.tree) & {"kernel", "copy"} for arm in arms)
    if not on_device:
        _take_out_cost(arms)
    scale = reference.samples / candidate.samples
    step_ns = [reference.tree.total_ns(window) for window in range(turns)]

    def shares(before: Times, after: Times) -> list[float]:
        return [(scale * after(window) - before(window)) / step_ns[window] for window in range(turns)]

    root = grouped(reference.tree, candidate.tree, shares)
    seen = _estimate([scale * b / a - 1 for a, b in zip(reference.step_times_s, candidate.step_times_s, strict=True)])
    change = judged or seen
    causes = list(_Causes(root, abs(change.value)).of(root, ()))
    named = [sum(values) for values in zip(*(group.total() for _, group in causes), strict=True)] or [0.0] * turns
    left = [whole - part for whole, part in zip(root.total(), named, strict=True)]
    parts = [_part(path, group) for path, group in causes]
    kinds = by_kind(root)
    return ChangeExplained(
        reference=reference.name,
        candidate=candidate.name,
        turns=turns,
        steps=min(arm.steps for arm in arms),
        one_process=one_process,
        on_device=on_device,
        step_time_s=(median(reference.step_times_s), median(candidate.step_times_s)),
        change=change,
        seen=seen,
        profiled=_estimate(root.total()),
        phases={group.name: _estimate(group.total()) for group in root.children.values()},
        parts=tuple(sorted(parts, key=lambda part: -abs(part.change.value))),
        rest=_estimate(left),
        explained=sum(part.change.value for part in parts) / change.value if parts and change.value else None,
        copies=_estimate(kinds["copy"]) if on_device and "copy" in kinds else None,
        idle=_estimate(kinds["idle"]) if on_device and "idle" in kinds else None,
    )


def _kinds(node: Node) -> set[str]:
    return {node.kind}.union(*map(_kinds, node.children.values()))


def _take_out_cost(arms: Sequence[ArmWindows]) -> None:
    """Profiling slows a step in proportion to its events: subtracts the cost per event from every time."""
    costs = [
        (profiled_s - bare_s) * 1e9 / events
        for arm in arms
        for window, (bare_s, profiled_s) in enumerate(zip(arm.step_times_s, arm.profiled_s, strict=True))
        if (events := arm.tree.num_events(window))
    ]
    event_ns = max(0.0, median(costs)) if costs else 0.0
    for arm in arms:
        for window in range(len(arm.step_times_s)):
            arm.tree.without_cost(window, event_ns)


class _Causes:
    """Finds the smallest groups that make up most of the change around them, each certain and large enough."""

    def __init__(self, root: ChangeGroup, change: float) -> None:
        self._least = max(LEAST_PART * change, LEAST_SHARE)
        self._level = CERTAIN / max(1, sum(each.share >= LEAST_SHARE for each in all_of(root)))

    def of(
        self, group: ChangeGroup, path: tuple[ChangeGroup, ...]
    ) -> Iterator[tuple[tuple[ChangeGroup, ...], ChangeGroup]]:
        """The causes inside a group, each with its ancestors; or the group itself, if it is one and they explain too
        little of it.
        """
        inside = [cause for child in group.children.values() for cause in self.of(child, (*path, group))]
        own = ChangeGroup(OWN, group.moved, group.calls)
        if path and group.children and self._counts(own):
            inside.append(((*path, group), own))
        whole = trimmed_location(group.total()).mean
        covered = sum(trimmed_location(cause.total()).mean for _, cause in inside)
        is_one = bool(path) and self._counts(group)
        if is_one and not (inside and abs(whole - covered) <= (1 - MOSTLY) * abs(whole)):
            yield path, group
        else:
            yield from inside

    def _counts(self, group: ChangeGroup) -> bool:
        location = trimmed_location(group.total())
        return abs(location.mean) >= self._least and location.p_value() <= self._level


def _part(path: tuple[ChangeGroup, ...], group: ChangeGroup) -> Part:
    if len(path) == 1 and not group.children:
        path, group = (*path, group), ChangeGroup(OWN, group.moved, group.calls)
    names = [each.name for each in path[1:]] or [group.name]
    kind, before, after = group.key
    if group.key == OWN and len(names) > 1:
        before = after = names.pop()
    return Part(
        phase=names[0],
        kind=kind,
        before=before,
        after=after,
        within=tuple(names[1:]),
        change=_estimate(group.total()),
        calls=group.calls,
        notes=tuple(_notes(group)),
    )


def _notes(group: ChangeGroup) -> Iterator[str]:
    """How the inputs of a group's operators differ, each difference once."""
    both = [(before, after) for before, after in group.pairs if before is not None and after is not None]
    changes = [
        change
        for before, after in both
        for first, second in (_same_places(before, after) if group.key[0] == "same" else [(before, after)])
        for change in _input_changes(first.inputs, second.inputs)
    ]
    yield from list(dict.fromkeys(changes))[:_MOST_NOTES]


def _same_places(before: Node, after: Node) -> Iterator[tuple[Node, Node]]:
    yield before, after
    for kind, ours, theirs in matched(before, after, phases=False):
        if kind == "same":
            yield from _same_places(ours[0], theirs[0])


def _input_changes(before: Sequence[TensorFact], after: Sequence[TensorFact]) -> Iterator[str]:
    for first, second in zip(before, after, strict=False):
        if first.dtype != second.dtype:
            yield f"{first.dtype} became {second.dtype}"
        if first.shape != second.shape:
            yield f"{_shape(first.shape)} became {_shape(second.shape)}"
        elif first.layout != second.layout:
            yield f"{first.layout} became {second.layout}"


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _estimate(values: Sequence[float]) -> Estimate:
    found = trimmed_location(values)
    low, high = found.interval()
    return Estimate(value=found.mean, low=low, high=high, n=len(values), unit="1")
