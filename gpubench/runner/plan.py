"""Plans a run: the cases of its suite, and which of them this machine cannot run."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple

from gpubench.core.cpus import usable_cpus
from gpubench.core.errors import WorkerError
from gpubench.core.records import Status
from gpubench.protocol.host_modules import host_modules
from gpubench.protocol.messages import Hello
from gpubench.runner.arms.arm import Arm
from gpubench.runner.contest.groups import LEAST_ROUNDS, MOST_CASES, contest_groups, parts_of, process_measure
from gpubench.runner.launch.worker_hosts import HostKey, HostPool, device_index, nodes_wanted, versions_of
from gpubench.store.run_info import PlannedCase
from gpubench.suite.cases.expand import quality_cases
from gpubench.suite.cases.labels import label_cases
from gpubench.suite.model.case import Case, CaseId
from gpubench.suite.model.suite import Suite
from gpubench.suite.model.workload_names import missing_compressor, missing_extra

OVERHEAD_S = 1.0
"""Seconds for a forked child, its build, first warm-up step and parity check, for a small network."""

TRAINING_S = (2.0, 30.0)
"""Seconds for training the reference CNN on small real data, per learning rate: from a GPU to a slow CPU."""

Hellos = Mapping[HostKey, Hello | str]
"""By host: its first message, or why it could not be started."""

Kept = Callable[[Case], bool]
Kind = Literal["measure", "quality"]


def greet(pool: HostPool, cases: Sequence[Case], arms: Sequence[Arm]) -> Hellos:
    """Starts a host for every interpreter and environment that the cases name.

    WorkerError if none can be started, or one that an arm needs: nothing could be measured, or compared.
    """
    wanted = {HostKey.of(arm.case(case)): arm.name for case in cases for arm in reversed(arms)}
    hellos: dict[HostKey, Hello | str] = {}
    errors = []
    pool.make_room(len(wanted))
    for key in wanted or dict.fromkeys(HostKey.of(case) for case in cases):
        try:
            hellos[key] = pool.get(key).hello
        except WorkerError as error:
            if key in wanted:
                raise WorkerError(f"arm {wanted[key]}: {error}", hint=error.hint) from error
            hellos[key] = str(error)
            errors.append(error)
    if errors and len(errors) == len(hellos):
        raise errors[0]
    return hellos


def plan_cases(
    suite: Suite,
    cases: Sequence[Case],
    hellos: Hellos,
    kept: Kept | None = None,
    arms: Sequence[Arm] = (),
    trained_ids: AbstractSet[CaseId] | None = None,
) -> tuple[PlannedCase, ...]:
    """The measured cases in suite order, then the quality runs that follow from them.

    Cases that `kept` refuses are left out; labels are those of the whole suite, so that a part of it has the same. With
    `trained_ids` these training runs are planned, whatever cases are kept. With arms, a case that one of them cannot
    run is skipped for all.
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
    planned = []
    for index, (kind, case, label) in enumerate(labelled, start=1):
        status, reason = _cannot_run_any(case, suite, hellos, arms)
        planned.append(
            PlannedCase(
                index=index,
                kind=kind,
                case_id=case.case_id,
                label=label.strip(),
                settings=case.settings,
                skip_status=status,
                skip_reason=reason,
            )
        )
    return tuple(planned)


def _cannot_run_any(case: Case, suite: Suite, hellos: Hellos, arms: Sequence[Arm]) -> tuple[Status | None, str | None]:
    """Why some arm of the case, or without arms the case itself, cannot be measured here."""
    cases = [arm.case(case) for arm in arms] or [case]
    ends = [cannot_run(each, suite, hellos[HostKey.of(each)]) for each in cases]
    if len(set(ends)) == 1:
        return ends[0]
    name, status, reason = next((arm.name, *end) for arm, end in zip(arms, ends, strict=True) if end[0] is not None)
    return status, f"arm {name}: {reason}"


def cannot_run(case: Case, suite: Suite, hello: Hello | str) -> tuple[Status | None, str | None]:
    """Why a case will not be measured here, as a status and a reason; (None, None) if it will."""
    if isinstance(hello, str):
        return Status.FAILED, hello
    lacking = None if case.python is not None else missing_extra(case.workload) or missing_compressor(case.compress)
    if lacking is not None:
        return Status.SKIPPED, lacking
    if hello.nodes:
        return _cannot_run_on_nodes(case, hello)
    number = len(hello.devices)
    if suite.requires == "cuda" and not number:
        return Status.SKIPPED, f"the suite requires CUDA: {hello.cuda_unavailable or 'there is no CUDA device'}"
    if case.carrier == "nccl" and case.device_type != "cuda" and case.world_size > 1:
        return Status.SKIPPED, "nccl carries messages between CUDA devices; on a CPU it is gloo"
    if case.device_type != "cuda":
        usable = usable_cpus() or 1
        if case.world_size > usable:
            return Status.SKIPPED, f"{case.world_size} ranks need a CPU each: there {_number_are(usable)}"
        return None, None
    if not number:
        return Status.SKIPPED, f"no CUDA device: {hello.cuda_unavailable or 'torch sees none'}"
    index = device_index(case)
    if index >= number:
        return Status.SKIPPED, f"there is no cuda:{index}: CUDA has {number} device{'s' if number > 1 else ''}"
    if index + case.world_size > number:
        first = f" from cuda:{index} on" if index else ""
        return Status.SKIPPED, f"{case.world_size} ranks need a CUDA device each{first}: there {_number_are(number)}"
    return None, None


def _cannot_run_on_nodes(case: Case, hello: Hello) -> tuple[Status | None, str | None]:
    """A case that would need a node which is lost is failed; one that needs more than there are is skipped."""
    each = hello.ranks_per_node or 1
    ready, wanted = [node for node in hello.nodes if node.problem is None], nodes_wanted(case.world_size, each)
    if wanted > len(hello.nodes):
        room = f"with room for {each} rank{'s' if each > 1 else ''} each"
        return (
            Status.SKIPPED,
            f"{case.world_size} ranks need {wanted} nodes {room}: there {_number_are(len(hello.nodes))}",
        )
    if wanted > len(ready):
        lost = [f"node {node.number} ({node.host}): {node.problem}" for node in hello.nodes if node.problem]
        return Status.FAILED, "; ".join(lost)
    if case.carrier == "nccl" and case.device_type != "cuda" and case.world_size > 1:
        return Status.SKIPPED, "nccl carries messages between CUDA devices; on a CPU it is gloo"
    local = case.world_size // wanted
    fewest = min(node.num_devices for node in ready)
    if case.device_type == "cuda" and device_index(case) + local > fewest:
        why = hello.cuda_unavailable or f"there {_number_are(fewest)}"
        return Status.SKIPPED, f"{local} ranks on a node need a CUDA device each: {why}"
    return None, None


def _number_are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number}"


class TimeForecast(NamedTuple):
    """The number of launches, and the least and most seconds they should take, without compilation and large models.

    `contests`: the number of contests that follow and of their cases, with their least and most seconds, included
    above.
    """

    num_launches: int
    least_s: float
    most_s: float
    contests: tuple[tuple[str, int], ...] = ()
    contests_least_s: float = 0.0
    contests_most_s: float = 0.0


def forecast(
    suite: Suite, planned: Sequence[PlannedCase], *, host_s: float, num_arms: int = 1, rounds: int | None = None
) -> TimeForecast:
    """`host_s` is the time to start a worker host, of which every round needs one. `rounds` replaces the suite's
    repeats.
    """
    repeats = suite.measure.most_repeats if rounds is None else rounds
    least_repeats = suite.measure.least_repeats if rounds is None else rounds
    wanted = [case for case in planned if case.skip_status is None]
    num_measured = sum(case.kind == "measure" for case in wanted) * num_arms
    measured, least_measured = num_measured * repeats, num_measured * least_repeats
    quality = suite.quality
    seeds = 0 if quality is None else quality.seeds
    trained = sum(case.kind == "quality" for case in wanted) * seeds * num_arms
    rates = 1 if quality is None else len(quality.learning_rate)
    num_rounds = (repeats if measured else 0) + (seeds if trained else 0)
    least_launch_s = min(suite.measure.min_time, suite.measure.max_time) + OVERHEAD_S
    groups = contest_groups(planned) if suite.contest is not None and num_arms == 1 else ()
    budget_s = 0.0 if suite.contest is None else suite.contest.budget
    least_s = most_s = 0.0
    for group in groups:
        num_parts = len(parts_of(group, group.cases, {}, None))
        replicas = min(len(group.cases), MOST_CASES) + 1
        process = process_measure(suite.measure, budget_s, replicas)
        build_s = host_s + replicas * OVERHEAD_S / 2
        least_s += LEAST_ROUNDS * num_parts * (build_s + replicas * process.min_time)
        most_s += max(budget_s, LEAST_ROUNDS * num_parts * (build_s + replicas * process.max_time))
    return TimeForecast(
        measured + trained,
        (num_rounds - (repeats - least_repeats if measured else 0)) * host_s
        + least_measured * least_launch_s
        + trained * rates * TRAINING_S[0]
        + least_s,
        num_rounds * host_s
        + measured * (suite.measure.max_time + OVERHEAD_S)
        + trained * rates * TRAINING_S[1]
        + most_s,
        tuple((group.label, len(group.cases)) for group in groups),
        least_s,
        most_s,
    )


def modules_of(suite: Suite, cases: Sequence[Case], arms: Sequence[Arm], search_path: Sequence[str]) -> tuple[str, ...]:
    """The modules that hosts import for these cases, as changed by every arm."""
    sides = [arm.case(case) for case in cases for arm in arms] if arms else cases
    return host_modules(suite, sides, search_path)


def versions_on(hellos: Hellos) -> dict[str, str | None]:
    """Versions of the software that the started hosts reported."""
    return versions_of([hello for hello in hellos.values() if isinstance(hello, Hello)])
