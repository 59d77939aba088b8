"""Which cases of a suite take turns with each other, and in which processes.

Cases of one contest can share a process. If they are too many, or too large together, a contest is split into parts
that share its first case: levels are relative to that case, so any two cases can be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpubench.core.findings import Effect
from gpubench.core.records import Record, Status
from gpubench.runner.arms.arm import why_not_blocks
from gpubench.store.run_info import PlannedCase
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure

MOST_CASES = 8
"""Most cases in one process: with more, a turn would outlast the machine's steady state."""

LEAST_ROUNDS = 3
MOST_ROUNDS = 12
"""Least rounds, each with a new host: processes have modes, and fewer than three do not show them."""

PROCESS_SHARE = 0.1
"""Share of the budget for the turns of one process; builds and the start of hosts come on top.

Processes differ more than the turns of one: half as many turns in twice as many processes give narrower intervals.
"""

_LEAST_TIME_SHARE = 0.3

Part = tuple[PlannedCase, ...]


@dataclass(frozen=True)
class ContestGroup:
    """Two or more cases of one contest, in suite order; the first one is in every process."""

    cases: Part

    @property
    def first(self) -> PlannedCase:
        return self.cases[0]

    @property
    def label(self) -> str:
        """`train on cpu`."""
        return f"{self.first.case.mode} on {self.first.case.device}"


def contest_groups(cases: Sequence[PlannedCase]) -> tuple[ContestGroup, ...]:
    """The measured cases grouped by who can share a process. Cases that cannot share are left out."""
    groups: list[list[PlannedCase]] = []
    for entry in cases:
        if entry.kind != "measure" or entry.skip_status is not None:
            continue
        joined = next((group for group in groups if _together(group[0].case, entry.case)), None)
        if joined is None:
            groups.append([entry])
        else:
            joined.append(entry)
    return tuple(ContestGroup(tuple(group)) for group in groups if len(group) > 1)


def process_groups(cases: Sequence[Case]) -> tuple[int | None, ...]:
    """A group number for each case, equal for cases that can take turns; None if a case can with no other."""
    firsts: list[Case] = []
    numbers: list[int | None] = []
    for case in cases:
        if not _together(case, case):
            numbers.append(None)
            continue
        number = next((at for at, first in enumerate(firsts) if _together(first, case)), len(firsts))
        firsts += [case] if number == len(firsts) else []
        numbers.append(number)
    return tuple(numbers)


def _together(first: Case, other: Case) -> bool:
    return why_not_blocks({"first": first, "other": other}) is None


def is_valid(records: Sequence[Record]) -> bool:
    """Whether a case may take part: it ran, and no finding invalidates its launches."""
    ok = [record for record in records if record.status is Status.OK]
    wrong = any(entry.effect is Effect.INVALIDATES for record in ok for entry in record.findings)
    return bool(ok) and not wrong and all(record.parity is None or record.parity.passed for record in ok)


def parts_of(
    group: ContestGroup,
    wanted: Sequence[PlannedCase],
    sizes: Mapping[int, int],
    room: int | None,
    most: int = MOST_CASES,
) -> tuple[Part, ...]:
    """The processes of one round, each with the group's first case; every wanted case is in one of them.

    `sizes` are bytes by case index, `room` the bytes one process may use, including the first case's second replica
    (None: unknown). The next case of a part is the one that differs least from those in it. A case that does not fit
    even with the first alone still gets a part, and is tried.
    """
    first = group.first
    left = [entry for entry in wanted if entry.index != first.index]
    parts: list[Part] = []
    while left:
        part, held = [first], 2 * sizes.get(first.index, 0)
        while left and len(part) < most:
            nearest = min(left, key=lambda entry: _distance(entry, part))
            held += sizes.get(nearest.index, 0)
            if len(part) > 1 and room is not None and held > room:
                break
            part.append(nearest)
            left.remove(nearest)
        parts.append(tuple(part))
    return tuple(parts)


def _distance(entry: PlannedCase, part: Sequence[PlannedCase]) -> tuple[int, int]:
    """Number of settings that differ from the nearest case of a part; ties go to earlier cases."""
    settings = entry.case.settings
    nearest = min(sum(settings[name] != value for name, value in other.case.settings.items()) for other in part)
    return nearest, entry.index


def process_measure(measure: Measure, budget_s: float, num_arms: int) -> Measure:
    """How long the arms of one process take turns. Times count per arm, as for all blocks."""
    most_s = min(measure.max_time, PROCESS_SHARE * budget_s / num_arms)
    return measure.model_copy(update={"max_time": most_s, "min_time": _LEAST_TIME_SHARE * most_s, "parity": False})
