"""Calls the optional methods of a workload (listed in `base.Workload`), with a default for each."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from gpubench.core.deferred import HINT, deferred, makes_deferred
from gpubench.core.errors import UsageError
from gpubench.core.extensions import METRICS_GROUP
from gpubench.core.findings import Finding
from gpubench.core.metrics import METRICS
from gpubench.suite.model.case import Case
from gpubench.suite.model.settings import default
from gpubench.worker.workloads.base import Health, OutputCheck, Step
from gpubench.worker.workloads.compiled import CompileStats, graphs_made
from gpubench.worker.workloads.compiled import compile_stats as read_compile_stats
from gpubench.worker.workloads.numerics import NOT_SEEN, PARTLY_WATCHED
from gpubench.worker.workloads.watched_steps import observe


def build(workload: Any, case: Case, device: Any) -> Step:
    """The workload's step. UsageError if `build` returns something that cannot be called."""
    step = workload.build(case, device)
    kind = deferred(step) if not callable(step) else makes_deferred(step)
    if callable(step) and kind is None:
        return cast(Step, step)
    what = f"a function that returns {kind}" if callable(step) else kind or f"{type(step).__name__}, not a function"
    raise UsageError(
        f"`build` of {case.workload} returned {what}.",
        hint=HINT if kind else "It must return a function that does one step.",
    )


def probe(workload: Any, case: Case, step: Step, graphs_before: int = 0) -> dict[str, Any]:
    """What the workload's `probe` returns; without one, what a few extra steps compute in. Not for use between measured
    steps.

    A compiled or graphed step cannot be observed. It counts as compiled if torch.compile has made graphs since
    `graphs_before`; arms of the same code share graphs, so this can miss it. `extra["not_seen"]` lists settings that
    were asked for and could not be verified.
    """
    own = getattr(workload, "probe", None)
    facts: dict[str, Any] = {}
    if own is not None:
        facts = dict(own())
    elif case.compile == "off" and not case.cuda_graph:
        facts = observe(step, case.device_type)
    if case.compile != "off":
        now = graphs_made()
        facts["compile"] = case.compile if now > graphs_before else NOT_SEEN if now else "off"
    untold = [name for name in ("cuda_graph", "num_workers") if getattr(case, name) and name not in facts]
    if facts.get("compute_dtype") is None or any(facts.get("extra", {}).get(each) for each in PARTLY_WATCHED):
        untold.append("precision")
    if facts.get("compile") == NOT_SEEN:
        untold.append("compile")
    extra = {**_as_built(case, facts), **facts.get("extra", {})}
    return {**facts, "extra": {**extra, **({"not_seen": untold} if untold else {})}}


def _as_built(case: Case, facts: Mapping[str, Any]) -> dict[str, str]:
    """Settings that gpubench applies to its own models alone: where a workload does not report them, it is as built."""
    asked = [name for name in ("framework", "compress") if getattr(case, name) != default(name)]
    return {name: default(name) for name in asked if name not in facts}


def samples_per_step(workload: Any, case: Case) -> int:
    """Samples per step. ValueError if the workload returns a number below 1."""
    own = getattr(workload, "samples_per_step", None)
    samples = case.samples_per_step if own is None else int(own(case))
    if samples < 1:
        raise ValueError(f"{case.workload}: samples_per_step must be at least 1, not {samples}")
    return samples


def reset_health(workload: Any) -> None:
    own = getattr(workload, "reset_health", None)
    if own is not None:
        own()


def health(workload: Any) -> Health | None:
    """What the steps since `reset_health` did; None if the workload does not say. Waits for the device.

    A dict is read as the fields of `Health`; unknown keys go to `extra`.
    """
    own = getattr(workload, "health", None)
    if own is None:
        return None
    answer = own()
    if isinstance(answer, Health):
        return answer
    known = {field.name for field in fields(Health)} - {"extra"}
    extra = {**answer.get("extra", {}), **{k: v for k, v in answer.items() if k not in known and k != "extra"}}
    return Health(**{k: v for k, v in answer.items() if k in known}, extra=extra)


def renew_inputs(workload: Any) -> None:
    own = getattr(workload, "renew_inputs", None)
    if own is not None:
        own()


def sample_output(workload: Any) -> None:
    own = getattr(workload, "sample_output", None)
    if own is not None:
        own()


def last_output(workload: Any, step: Step) -> None:
    own = getattr(workload, "last_output", None)
    if own is not None:
        own(step)


def check_outputs(workload: Any, device: Any) -> OutputCheck | None:
    """Distance of sampled outputs from a fresh model's; None for a workload that samples none."""
    own = getattr(workload, "check_outputs", None)
    found: OutputCheck | None = None if own is None else own(device)
    return found


def own_metrics(workload: Any) -> dict[str, float | None]:
    """The workload's own figures. ValueError for a metric that no package registers, or that is gpubench's own."""
    own = getattr(workload, "metrics", None)
    if own is None:
        return {}
    values = {str(name): None if value is None else float(value) for name, value in own().items()}
    for name in values:
        if name in METRICS.built_in:
            raise ValueError(f"`metrics` of the workload returned {name}, which gpubench measures itself")
        if name not in METRICS.added:
            raise ValueError(
                f"`metrics` of the workload returned {name}, which no installed package registers in {METRICS_GROUP}"
            )
    return values


def own_findings(workload: Any) -> tuple[Finding, ...]:
    own = getattr(workload, "findings", None)
    return () if own is None else tuple(own())


def waits_s(workload: Any) -> tuple[list[float] | None, list[float] | None]:
    """The live lists of waits for input and for the device, in seconds per step (perf_counter); None if a step never
    waits.
    """
    return getattr(workload, "input_waits_s", None), getattr(workload, "device_waits_s", None)


def compile_stats(case: Case) -> CompileStats | None:
    """What torch.compile has done so far in this process; None for a case without it."""
    return None if case.compile == "off" else read_compile_stats()


def close(workload: Any) -> None:
    own = getattr(workload, "close", None)
    if own is not None:
        own()
