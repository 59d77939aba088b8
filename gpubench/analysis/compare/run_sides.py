"""The sides of a comparison, made from runs or arms, and the differences between two sides."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from gpubench.analysis.summary.case_summary import ComparableCase
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary, summarise_run
from gpubench.core.errors import UsageError
from gpubench.core.records import Status
from gpubench.machine.environment import comparable, machine_names
from gpubench.suite.model.case import SPECS

Source = Literal["run", "arm", "baseline", "pytest-benchmark"]

_MACHINE = {
    "cuda": re.compile(r"gpu\d+\.(name|memory_total_bytes|mig)|driver\.driver"),
    "cpu": re.compile(r"cpu\.(model|family|flags|num_threads_usable)|system\.cpu_quota"),
}
"""Facts that make machines different for cases on a GPU or CPU, because they decide on kernels or limit them."""
_EFFECTIVE_REFUSED = re.compile(
    "|".join(
        [name for name, spec in SPECS.items() if spec.if_differs == "refused"]
        + [r"math\..+", "autocast_dtype", "compute_dtype", "training", "nvtx"]
    )
)
_NAMES = {
    "driver.driver": "driver",
    "driver.cuda_driver": "CUDA driver",
    "python.version": "Python",
    "worker.cuda": "CUDA",
    "worker.cudnn": "cuDNN",
    "cpu.model": "CPU",
    "cpu.family": "CPU family",
    "cpu.flags": "CPU flags",
    "cpu.num_threads_usable": "usable hardware threads",
    "system.cpu_quota": "CPU quota",
    "system.kernel": "kernel",
    "python.free_threaded": "free-threaded Python",
}


@dataclass(frozen=True)
class Side:
    """One side. `environment` is the comparable part, flat; `facts` are what else may differ (commit, an arm's
    settings).

    `source` and `suite` decide which sides may be compared. `name` is for display. For an arm, `rounds` is the most
    rounds per case in its run, `screen_rounds` those that a screened run gives every case, and `sesoi` the run's
    smallest effect of interest. `price_per_hour`: what the machine costs, if the run was told.
    """

    name: str
    source: Source
    suite: str
    cases: tuple[ComparableCase, ...]
    environment: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    screen_rounds: int | None = None
    sesoi: float | None = None
    hostname: str | None = None
    price_per_hour: float | None = None

    @property
    def machine_names(self) -> tuple[str, ...]:
        """What a list of machines may call this one."""
        return machine_names(self.hostname, self.environment)


def arms_of(run: RecordedRun) -> tuple[str, ...]:
    """Names of the run's arms, the reference first; empty if it has none."""
    if run.info.arms:
        return tuple(arm.name for arm in run.info.arms)
    return tuple(dict.fromkeys(record.arm for record in run.records if record.arm is not None))


def side_of(run: RecordedRun, name: str, *, arm: str | None = None, summary: RunSummary | None = None) -> Side:
    """A run, or one arm of it; `summary`: of its launches, if already made.

    UsageError for a run with arms if none is named, because they must not be mixed.
    """
    arms = arms_of(run)
    if arm is None and arms:
        raise UsageError(
            f"run {run.info.run} has the arms {', '.join(arms)}, so it cannot be one side of a comparison",
            hint=f"To compare its arms with each other, name {run.info.run} alone.",
        )
    summary = summary or summarise_run(run, arm=arm, metrics=())
    cases = (*summary.cases, *(entry.summary for entry in summary.quality))
    environment = comparable(run.info.environment)
    suite = run.info.suite_name
    if arm is None:
        host, price = run.info.environment.get("hostname"), run.info.price_per_hour
        return Side(name, "run", suite, cases, environment, facts_of(run), hostname=host, price_per_hour=price)
    given = next((each.given for each in run.info.arms if each.name == arm), {})
    # An arm may use its own interpreter, whose versions its workers report.
    versions = next((case.effective.versions for case in cases if case.effective and case.effective.versions), {})
    environment |= {f"worker.{key}": value for key, value in versions.items() if value is not None}
    return Side(name, "arm", suite, cases, environment, given, run.info.repeats, run.info.screen_rounds, run.info.sesoi)


def arm_sides(
    run: RecordedRun, reference: str | None = None, summaries: Mapping[str, RunSummary] | None = None
) -> tuple[Side, tuple[Side, ...]]:
    """The reference arm of a run (its first, or the one named) and the others. UsageError without two arms.

    `summaries`: by arm, if already made.
    """
    arms = arms_of(run)
    if reference is not None and reference not in arms:
        raise UsageError(f"run {run.info.run} has no arm {reference!r}", hint=f"Its arms: {', '.join(arms) or 'none'}.")
    if len(arms) < 2:
        raise UsageError(
            f"run {run.info.run} has fewer than two arms",
            hint="Name a second run, or measure two arms in one run: gpubench run SUITE --arm base=... --arm head=...",
        )
    first = reference or arms[0]
    sides = {arm: side_of(run, arm, arm=arm, summary=(summaries or {}).get(arm)) for arm in arms}
    return sides[first], tuple(side for arm, side in sides.items() if arm != first)


def commit_of(run: RecordedRun) -> str | None:
    """The run's short commit, followed by `with changes` if tracked files were changed; None if unknown."""
    git = run.info.environment.get("git") or {}
    if not git.get("commit"):
        return None
    return f"{str(git['commit'])[:12]}{' with changes' if git.get('dirty') else ''}"


_FILES = "workload files"


def facts_of(run: RecordedRun) -> dict[str, Any]:
    commit = commit_of(run)
    files = [f"{PurePath(name).name} ({digest[:8]})" for name, digest in sorted(run.info.workload_files.items())]
    return ({} if commit is None else {"git commit": commit}) | ({_FILES: files} if files else {})


@dataclass(frozen=True)
class Difference:
    """`before` or `after` is None if that side lacks it. `refused`: it makes the two sides incomparable."""

    name: str
    before: Any
    after: Any
    refused: bool = False

    @property
    def shown(self) -> str:
        """The name for readers: `torch` for `packages.torch`."""
        if self.name in _NAMES:
            return _NAMES[self.name]
        part, _, rest = self.name.partition(".")
        if part in ("packages", "worker", "variables", "env", "set"):
            return rest
        return f"{part.replace('gpu', 'GPU ')} {rest.replace('_', ' ')}" if rest else part

    def __str__(self) -> str:
        """`driver: 550.1 and 560.2`; for lists, what is new and what is gone: `CPU flags: avx512_bf16 is new`."""
        if isinstance(self.before, list | tuple) and isinstance(self.after, list | tuple):
            words = [f"{name} is gone" for name in self.before if name not in self.after]
            words += [f"{name} is new" for name in self.after if name not in self.before]
            return f"{self.shown}: {', '.join(words) or 'in another order'}"
        old, new = ("none" if value is None else value for value in (self.before, self.after))
        return f"{self.shown}: {old} and {new}"


def machine_of(environment: Mapping[str, Any], devices: Iterable[str]) -> dict[str, Any]:
    """The facts that identify the machine for cases on these devices (`cpu`, `cuda:1`), from a comparable
    environment.
    """
    kinds = {device.partition(":")[0] for device in devices}
    patterns = [pattern for kind, pattern in _MACHINE.items() if kind in kinds]
    return {name: value for name, value in environment.items() if any(each.fullmatch(name) for each in patterns)}


def other_machine(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Names in which two results of `machine_of` differ. A fact missing on one side is ignored, except quota and card,
    whose absence means something.
    """
    names = before.keys() | after.keys()
    known = {name for name in names if (name in before and name in after) or name[:3] in ("gpu", "sys")}
    return {name for name in known if before.get(name) != after.get(name)}


def differences(reference: Side, candidate: Side) -> tuple[Difference, ...]:
    """Every recorded difference, refused ones first. Arms of one run are meant to differ, so nothing is refused.

    Another machine is refused: another GPU or driver if any case runs on a GPU, another processor or quota if any runs
    on the CPU. A package is named once if parent and worker report the same two versions.
    """
    befores = {(case.kind, case.case_id): case for case in reference.cases}
    pairs = [(befores[key], case) for case in candidate.cases if (key := (case.kind, case.case_id)) in befores]
    suites = (reference.suite, candidate.suite)
    found = [Difference("suite", *suites, refused=True)] if suites[0] != suites[1] else []
    devices = {str(case.settings.get("device", "cpu")) for _, case in pairs}
    refused = other_machine(*(machine_of(side.environment, devices) for side in (reference, candidate)))
    before, after = {**reference.environment, **reference.facts}, {**candidate.environment, **candidate.facts}
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if name.startswith("set.") and (old is None or new is None):  # the other arm keeps the suite's value
            asked = {str(case.settings.get(name.removeprefix("set."), "none")) for case in reference.cases}
            as_is = asked.pop() if len(asked) == 1 else "as the suite says"
            old, new = (as_is if old is None else old), (as_is if new is None else new)
        if name == _FILES and (old is None or new is None):  # an older run or a baseline did not note them
            continue
        worker = name.replace("packages.", "worker.", 1) if name.startswith("packages.") else None
        twice = worker is not None and (before.get(worker), after.get(worker)) == (old, new)
        if old != new and not twice:
            found.append(Difference(name, old, new, refused=name in refused))
    # Settings that took effect differently although the cases are the same, once per setting and change. Only fields on
    # both sides count: records of an older gpubench may lack some.
    counts: Counter[tuple[str, Any, Any]] = Counter()
    for one, other in pairs:
        if one.status is Status.OK and other.status is Status.OK:
            was, now = one.took_effect(), other.took_effect()
            counts.update((name, was[name], now[name]) for name in was if name in now and was[name] != now[name])
    told = {(each.name.removeprefix("set."), str(each.before), str(each.after)) for each in found}
    for (name, old, new), number in counts.items():
        if (name, str(old), str(new)) in told:
            continue
        shown = f"{name} in {number} case{'s' if number > 1 else ''}"
        found.append(Difference(shown, old, new, refused=_EFFECTIVE_REFUSED.fullmatch(name) is not None))
    if reference.source == candidate.source == "arm":
        found = [Difference(each.name, each.before, each.after) for each in found]
    return tuple(sorted(found, key=lambda each: not each.refused))
