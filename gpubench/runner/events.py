"""The events of a run for its listener: typed, in order, from one thread. The runner never prints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpubench.core.records import ContestRecord, Record
from gpubench.store.run_info import PlannedCase, RunInfo


@dataclass(frozen=True)
class RunStarted:
    info: RunInfo
    folder: Path
    num_launches: int
    num_launches_done: int = 0


@dataclass(frozen=True)
class HostStarted:
    """A worker host is up. `devices` are as it reported them; `seconds` is its start time."""

    pid: int
    seconds: float
    versions: dict[str, str | None]
    devices: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class LaunchStarted:
    """A launch begins. In a run with arms: that of `arm`, or None for all arms in alternating blocks."""

    case: PlannedCase
    repeat: int
    repeats: int
    arm: str | None = None


@dataclass(frozen=True)
class LaunchPhase:
    """The running launch entered `name` (build, warmup, measuring, parity, training, evaluating, closing)."""

    name: str


@dataclass(frozen=True)
class LaunchProgress:
    num_steps: int
    step_time_s: float | None = None
    rel_half_width: float | None = None
    target_rel_ci: float | None = None
    fraction: float | None = None
    telemetry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LaunchFinished:
    case: PlannedCase
    record: Record
    num_done: int
    num_launches: int


@dataclass(frozen=True)
class RoundFinished:
    """In a run with arms: every arm of the case has its launch of round `number`. With its records so far."""

    case: PlannedCase
    records: tuple[Record, ...]
    number: int


@dataclass(frozen=True)
class CaseFinished:
    """All launches of this case are over (or skipped). With its records so far, in order of repeat."""

    case: PlannedCase
    records: tuple[Record, ...]
    num_cases_done: int
    num_cases: int
    elapsed_s: float
    remaining_s: float | None


@dataclass(frozen=True)
class ContestStarted:
    """`num_cases` of a contest begin to take turns in one process, in round `number` of at most `most`."""

    label: str
    num_cases: int
    number: int
    most: int


@dataclass(frozen=True)
class ContestFinished:
    """One process of a contest is over."""

    record: ContestRecord


@dataclass(frozen=True)
class Notice:
    """Something the user should know that belongs to no case (a host died, the budget is used up, a stop was
    requested).
    """

    message: str
    hint: str = ""


@dataclass(frozen=True)
class RunFinished:
    folder: Path
    interrupted: bool
    elapsed_s: float


Event = (
    RunStarted
    | HostStarted
    | LaunchStarted
    | LaunchPhase
    | LaunchProgress
    | LaunchFinished
    | RoundFinished
    | CaseFinished
    | ContestStarted
    | ContestFinished
    | Notice
    | RunFinished
)
Listener = Callable[[Event], None]
