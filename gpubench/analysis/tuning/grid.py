"""A grid of settings, and what has been measured of it."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Literal

COST_SHARE = 0.15
"""Share of the launches of the whole grid, at three per setting, that a search may take."""

LAUNCHES_PER_SETTING = 3

LEAST_COST = 40
"""Launches that a search of a small grid may take in any case."""

FailureKind = Literal["oom", "wrong", "failed"]


@dataclass(frozen=True)
class Space:
    """A grid of settings. A point is a row of `codes`: the position of its value on every axis.

    `numeric` axes have ordered values; larger values of `batch_axis` need more memory; memory is compared only at equal
    values of `precision_axis` (None: no such axis). Points with the same number in `groups` can take turns in one
    process; None can with no other.
    """

    codes: tuple[tuple[int, ...], ...]
    numeric: tuple[bool, ...]
    groups: tuple[int | None, ...]
    start: int = 0
    batch_axis: int | None = None
    precision_axis: int | None = None

    @cached_property
    def index(self) -> dict[tuple[int, ...], int]:
        return {code: point for point, code in enumerate(self.codes)}

    def neighbours(self, point: int) -> list[int]:
        """Every point that differs on one axis, in grid order."""
        return [other for other in range(len(self.codes)) if len(self.differ(point, other)) == 1]

    def differ(self, one: int, other: int) -> list[int]:
        """Axes on which two points differ."""
        return [axis for axis, (a, b) in enumerate(zip(self.codes[one], self.codes[other], strict=True)) if a != b]

    def pairs(self, point: int) -> set[tuple[tuple[int, int], ...]]:
        """The point's pairs of values on two axes."""
        return {*combinations(enumerate(self.codes[point]), 2)}

    @property
    def limit(self) -> int:
        """Most launches and places in contests of a search: 15 % of the whole grid's."""
        return max(LEAST_COST, math.floor(COST_SHARE * LAUNCHES_PER_SETTING * len(self.codes)))


@dataclass
class TriedPoints:
    """The measurements so far. `launches`: log scores by point and launch number (higher is better); `contests`: log
    speeds of the points of each process, in order; `failed`: points that cannot be used, and how they failed.
    """

    launches: dict[int, dict[int, float]] = field(default_factory=dict)
    contests: list[dict[int, float]] = field(default_factory=list)
    failed: dict[int, FailureKind] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    """Points in the order in which they were first tried, failed ones too."""

    forgiven: int = 0
    """The part of the cost spent on settings that were later ruled out by their accuracy."""

    num_twins: int = 0
    """Contest processes in which the first setting had a twin."""

    apart: set[int] = field(default_factory=set)
    """Points that work alone, but not in a process with others."""

    @property
    def cost(self) -> int:
        """Launches plus places in contest processes, twins included: a setting in a contest takes about as long as a
        launch.
        """
        launches = sum(len(each) for each in self.launches.values()) + len(self.failed.keys() - self.launches.keys())
        return launches + sum(len(each) for each in self.contests) + self.num_twins - self.forgiven

    @property
    def valid(self) -> list[int]:
        return [point for point in self.order if point in self.launches and point not in self.failed]
