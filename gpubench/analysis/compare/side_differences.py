"""What else differs between the sides of a comparison, and whether it makes their numbers incomparable."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.compare.run_sides import Side
from gpubench.analysis.summary.comparable_case import ComparableCase
from gpubench.core.records import Status
from gpubench.suite.model.case import SPECS

_GPU_REFUSED = re.compile(r"gpu\d+\.(name|memory_total_bytes|mig)")
_CPU_REFUSED = re.compile(r"cpu\.(model|num_threads_usable)")
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
    "cpu.num_threads_usable": "usable hardware threads",
    "system.kernel": "kernel",
    "python.free_threaded": "free-threaded Python",
}


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


def differences(reference: Side, candidate: Side) -> tuple[Difference, ...]:
    """Every recorded difference, refused ones first. Arms of one run are meant to differ: nothing is refused there."""
    found = [*_environment(reference, candidate), *_settings(reference, candidate)]
    if reference.suite != candidate.suite:
        found.insert(0, Difference("suite", reference.suite, candidate.suite, refused=True))
    if reference.source == candidate.source == "arm":
        found = [Difference(each.name, each.before, each.after) for each in found]
    return tuple(sorted(found, key=lambda each: not each.refused))


def in_common(reference: Side, candidate: Side) -> list[tuple[ComparableCase, ComparableCase]]:
    """Cases of both sides, by their settings."""
    before = {(case.kind, case.case_id): case for case in reference.cases}
    return [(before[key], case) for case in candidate.cases if (key := (case.kind, case.case_id)) in before]


def _environment(reference: Side, candidate: Side) -> list[Difference]:
    """The GPU refuses if any case runs on one, the processor if all run on the CPU.

    A package of the parent that the worker reports with the same two versions is named once.
    """
    before = {**reference.environment, **reference.facts}
    after = {**candidate.environment, **candidate.facts}
    devices = [str(case.settings.get("device", "cpu")) for _, case in in_common(reference, candidate)]
    refused = _GPU_REFUSED if any(device.startswith("cuda") for device in devices) else _CPU_REFUSED
    found = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        worker = name.replace("packages.", "worker.", 1) if name.startswith("packages.") else None
        twice = worker is not None and (before.get(worker), after.get(worker)) == (old, new)
        if old != new and not twice:
            found.append(Difference(name, old, new, refused=refused.fullmatch(name) is not None))
    return found


def _settings(reference: Side, candidate: Side) -> list[Difference]:
    """Settings that took effect differently in cases that asked for the same, once per setting and change.

    Only what both sides know counts: a record of an older gpubench may lack a field.
    """
    counts: Counter[tuple[str, Any, Any]] = Counter()
    for before, after in in_common(reference, candidate):
        if before.status is Status.OK and after.status is Status.OK:
            old, new = before.took_effect(), after.took_effect()
            counts.update((name, old[name], new[name]) for name in old if name in new and old[name] != new[name])
    found = []
    for (name, was, now), number in counts.items():
        shown = f"{name} in {number} case{'s' if number > 1 else ''}"
        found.append(Difference(shown, was, now, refused=_EFFECTIVE_REFUSED.fullmatch(name) is not None))
    return found
