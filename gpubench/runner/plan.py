"""What a run will do: the cases of its suite, and which of them this machine cannot run."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from gpubench.core.records import Status
from gpubench.protocol.messages import Hello
from gpubench.runner.arms.arm import Arm
from gpubench.runner.launch.worker_hosts import HostKey, device_index
from gpubench.store.run_info import PlannedCase
from gpubench.suite.cases.expand import quality_cases
from gpubench.suite.cases.labels import label_cases
from gpubench.suite.model.case import Case, CaseId
from gpubench.suite.model.suite import Suite

Hellos = Mapping[HostKey, Hello | str]
"""Per host what it said of itself, or why it could not be started."""

Kept = Callable[[Case], bool]
Kind = Literal["measure", "quality"]


def plan_cases(
    suite: Suite,
    cases: Sequence[Case],
    hellos: Hellos,
    kept: Kept | None = None,
    arms: Sequence[Arm] = (),
    trained_ids: AbstractSet[CaseId] | None = None,
) -> tuple[PlannedCase, ...]:
    """Measured cases in the order of the suite, then the training runs to a result that follow from them.

    Those that `kept` refuses are left out; labels are those of the whole suite, so that a part of it is labelled like
    the whole. With `trained_ids` these training runs are planned, whatever cases are kept. With arms,
    a case that one of them cannot run is left out for all.
    """
    measured = [
        (case, label) for case, label in zip(cases, label_cases(cases), strict=True) if kept is None or kept(case)
    ]
    trained = quality_cases(suite, cases if trained_ids is not None else [case for case, _ in measured])
    labelled: list[tuple[Kind, Case, str]] = [("measure", case, label) for case, label in measured]
    labelled += [
        ("quality", case, f"quality {label}")
        for case, label in zip(trained, label_cases(trained), strict=True)
        if trained_ids is None or case.case_id in trained_ids
    ]
    return tuple(_planned(index, *entry, suite, hellos, arms) for index, entry in enumerate(labelled, start=1))


def _planned(
    index: int, kind: Kind, case: Case, label: str, suite: Suite, hellos: Hellos, arms: Sequence[Arm]
) -> PlannedCase:
    status, reason = _cannot_run_any(case, suite, hellos, arms)
    return PlannedCase(
        index=index,
        kind=kind,
        case_id=case.case_id,
        label=label.strip(),
        settings=case.settings,
        skip_status=status,
        skip_reason=reason,
    )


def _cannot_run_any(case: Case, suite: Suite, hellos: Hellos, arms: Sequence[Arm]) -> tuple[Status | None, str | None]:
    """Why not every arm of the case can be measured here; without arms, why the case cannot."""
    cases = [arm.case(case) for arm in arms] or [case]
    ends = [cannot_run(each, suite, hellos[HostKey.of(each)]) for each in cases]
    if len(set(ends)) == 1:
        return ends[0]
    return next(
        (status, f"arm {arm.name}: {reason}")
        for arm, (status, reason) in zip(arms, ends, strict=True)
        if status is not None
    )


def cannot_run(case: Case, suite: Suite, hello: Hello | str) -> tuple[Status | None, str | None]:
    """Why a case will not be measured here, as a status and a reason; (None, None) if it will."""
    if isinstance(hello, str):
        return Status.FAILED, hello
    number = len(hello.devices)
    if suite.requires == "cuda" and not number:
        return Status.SKIPPED, f"the suite requires CUDA: {hello.cuda_unavailable or 'there is no CUDA device'}"
    if case.device_type != "cuda":
        return None, None
    if not number:
        return Status.SKIPPED, f"no CUDA device: {hello.cuda_unavailable or 'torch sees none'}"
    index = device_index(case)
    if index >= number:
        return Status.SKIPPED, f"there is no cuda:{index}: CUDA has {number} device{'s' if number > 1 else ''}"
    return None, None
