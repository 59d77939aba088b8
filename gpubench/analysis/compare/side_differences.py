"""What differs between the sides of a comparison besides what is compared, and whether it makes the numbers
meaningless.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpubench.analysis.compare.run_sides import Side
from gpubench.analysis.summary.comparable_case import ComparableCase
from gpubench.core.records import Status

_GPU_REFUSED = re.compile(r"gpu\d+\.(name|memory_total_bytes|mig)")
_CPU_REFUSED = ("cpu.model", "cpu.num_threads_usable")
_EFFECTIVE_REFUSED = re.compile(
    r"math\..+|precision|autocast_dtype|compute_dtype|batch_size|training|memory_format|optimizer|data_path|compile|cuda_graph|nvtx"
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
    """`before` and `after` None: not there on that side. `refused`: with it, numbers of the two sides mean nothing
    together.
    """

    name: str
    before: Any
    after: Any
    refused: bool = False

    @property
    def shown(self) -> str:
        """The name as people say it: `torch` for `packages.torch`."""
        if self.name in _NAMES:
            return _NAMES[self.name]
        part, _, rest = self.name.partition(".")
        if part in ("packages", "worker", "variables", "env", "set"):
            return rest
        return f"{part.replace('gpu', 'GPU ')} {rest.replace('_', ' ')}" if rest else part


def differences(reference: Side, candidate: Side) -> tuple[Difference, ...]:
    """Everything recorded that differs, what refuses first. Arms of one run are meant to differ: nothing is refused
    there.
    """
    arms = reference.source == candidate.source == "arm"
    found = [*_suites(reference, candidate), *_environment(reference, candidate), *_settings(reference, candidate)]
    if arms:
        found = [Difference(each.name, each.before, each.after) for each in found]
    return tuple(sorted(found, key=lambda each: not each.refused))


def in_common(reference: Side, candidate: Side) -> list[tuple[ComparableCase, ComparableCase]]:
    """Cases of both sides, by their settings."""
    before = {(case.kind, case.case_id): case for case in reference.cases}
    return [(before[key], case) for case in candidate.cases if (key := (case.kind, case.case_id)) in before]


def _suites(reference: Side, candidate: Side) -> list[Difference]:
    if reference.suite == candidate.suite:
        return []
    return [Difference("suite", reference.suite, candidate.suite, refused=True)]


def _environment(reference: Side, candidate: Side) -> list[Difference]:
    before = {**reference.environment, **reference.facts}
    after = {**candidate.environment, **candidate.facts}
    refused = _refused_part(reference, candidate)
    return [
        Difference(name, before.get(name), after.get(name), refused=bool(refused(name)))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name) and not _said_twice(name, before, after)
    ]


def _refused_part(reference: Side, candidate: Side) -> Any:
    """GPUs decide where cases on a GPU are compared, the processor where all are on the CPU."""
    pairs = in_common(reference, candidate)
    on_gpu = any(str(after.settings.get("device", "cpu")).startswith("cuda") for _, after in pairs)
    return _GPU_REFUSED.fullmatch if on_gpu else (lambda name: name in _CPU_REFUSED)


def _said_twice(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """A package of the parent that the worker reported as well, with the same two versions."""
    part, _, rest = name.partition(".")
    worker = f"worker.{rest}"
    return part == "packages" and (before.get(worker), after.get(worker)) == (before.get(name), after.get(name))


def _settings(reference: Side, candidate: Side) -> list[Difference]:
    """Settings that took effect differently in cases that asked for the same, once per setting and change."""
    counts: dict[tuple[str, Any, Any], int] = {}
    for before, after in in_common(reference, candidate):
        if before.status is Status.OK and after.status is Status.OK:
            for change in _changed(before.took_effect(), after.took_effect()):
                counts[change] = counts.get(change, 0) + 1
    return [
        Difference(
            f"{name} in {number} case{'s' if number > 1 else ''}",
            before,
            after,
            refused=bool(_EFFECTIVE_REFUSED.fullmatch(name)),
        )
        for (name, before, after), number in counts.items()
    ]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Only what both sides know: a record of an older gpubench may lack a field."""
    return [(name, before[name], after[name]) for name in before if name in after and before[name] != after[name]]
