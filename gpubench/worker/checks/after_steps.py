"""Whether the steps did the work they were measured for: health, compiler, FLOPs, bytes; and a clean end."""

import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.instruments import instruments
from gpubench.core.records import Effective
from gpubench.core.units import format_percent, told_apart
from gpubench.suite.model.case import Case
from gpubench.worker.checks.work_counts import count_bytes, count_flops
from gpubench.worker.job import RunningJob
from gpubench.worker.timing.drawn_batches import DrawnBatches
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import Health
from gpubench.worker.workloads.compiled import CompileStats, graphs_made
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.users_errors import in_one_line

Metrics = tuple[dict[str, float | None], dict[str, str]]
"""Values by metric, and the reason for each None."""

MAX_SKIPPED_SHARE = 0.01
CLOSE_TIMEOUT_S = 20.0

_UNITS = {"tokens": "token_throughput", "audio_s": "audio_throughput"}
"""Throughput metric by the unit of a batch's contents."""

_COMPILE = ("compile_s", "graph_breaks", "recompilations")


def all_absent(names: tuple[str, ...], reason: str) -> Metrics:
    return dict.fromkeys(names), dict.fromkeys(names, reason)


def health(launch: RunningJob, workload: Any, case: Case, num_steps: int, *, exact: bool = True) -> Metrics:
    """Checks what the `num_steps` steps since the last reset did to the model: GB302, GB303, GB304, GB308.

    Without `exact` the counters include other steps, so their number is not checked.
    """
    told, name = optional_facts.health(workload), "scaler_skipped_steps"
    if told is None:
        return all_absent((name,), "the workload has no `health` method")
    launch.findings += _health_findings(told, case, num_steps, exact)
    if told.scaler_skipped_steps is None:
        return all_absent((name,), "no GradScaler takes part")
    return {name: float(told.scaler_skipped_steps)}, {}


def _health_findings(told: Health, case: Case, num_steps: int, exact: bool) -> Iterator[Finding]:
    skipped = told.scaler_skipped_steps or 0
    if not told.finite:
        what = "loss" if case.mode == "train" else "output"
        message = f"The {what} was NaN or infinite within {num_steps} measured steps."
        yield finding("GB302", message, num_steps=num_steps)
    if case.mode == "train" and told.parameters_moved is False:
        message = f"{num_steps} training steps left every parameter as it was, or froze some."
        yield finding("GB303", message, num_steps=num_steps)
    if skipped > MAX_SKIPPED_SHARE * num_steps:
        share = format_percent(skipped / num_steps)
        message = f"GradScaler skipped {skipped} of {num_steps} timed optimizer steps ({share})."
        yield finding("GB304", message, skipped=skipped, num_steps=num_steps)
    if exact and told.optimizer_steps is not None and (done := told.optimizer_steps + skipped) != num_steps:
        message = f"{num_steps} steps were timed, and the workload did {done} optimizer steps."
        yield finding("GB308", message, num_steps=num_steps, optimizer_steps=told.optimizer_steps, skipped=skipped)


def note_doubts(launch: RunningJob, workload: Any, effective: Effective) -> None:
    """GB311 for settings that the watched steps did not show, GB108 for tools that watch this process; each once.

    An operator that computes nothing has no precision to show.
    """
    has_precision = getattr(workload, "has_precision", True)
    names = [name for name in effective.extra.get("not_seen", ()) if name != "precision" or has_precision]
    watchers = instruments()
    if names and (doubt := _not_seen(names, effective.extra.get("unwatched"))) not in launch.findings:
        launch.findings.append(doubt)
    if watchers and "GB108" not in {each.code for each in launch.findings}:
        message = f"Watched while it was measured, by {', '.join(watchers)}."
        launch.findings.append(finding("GB108", message, by=watchers))


def _not_seen(names: list[str], why: str | None = None) -> Finding:
    reason = f" ({why})" if why else ""
    return finding("GB311", f"Not seen while steps were watched: {', '.join(names)}{reason}.", settings=names)


def samples_done(launch: RunningJob, workload: Any, samples_per_step: float, drawn: DrawnBatches) -> float:
    """Mean number of samples per step, from what the workload's DataLoaders returned. GB312 if batches were not full,
    GB311 if the loaders do not show it. A workload's own count takes precedence.
    """
    if hasattr(workload, "samples_per_step"):
        return samples_per_step
    if not drawn.seen:
        launch.findings.append(_not_seen(["samples per step"]))
    if drawn.share < 1:
        message = f"The DataLoader's batches were {told_apart(drawn.share, 1.0)[0]} full on average."
        launch.findings.append(finding("GB312", message, share=drawn.share))
    return samples_per_step * drawn.share


def workload_figures(launch: RunningJob, workload: Any) -> Metrics:
    """The workload's own metrics and findings."""
    launch.findings += optional_facts.own_findings(workload)
    values = optional_facts.own_metrics(workload)
    return values, {name: "the workload did not measure it" for name, value in values.items() if value is None}


def compiler(launch: RunningJob, case: Case, before: CompileStats | None, after: CompileStats | None) -> Metrics:
    """What torch.compile did; GB309 if it compiled again during the measured steps, from `before` to `after`."""
    if before is None or after is None:
        return all_absent(_COMPILE, "the case does not use torch.compile")
    again = after.recompilations - before.recompilations
    if again > 0:
        message = f"torch.compile compiled {again} times more during the measured steps."
        launch.findings.append(finding("GB309", message, recompilations=again))
    if after.graph_breaks > 0:
        message = f"torch.compile broke the graph {after.graph_breaks} times ({case.workload})."
        launch.findings.append(finding("GB310", message, graph_breaks=after.graph_breaks))
    return dict(zip(_COMPILE, (after.compile_s, after.graph_breaks, after.recompilations), strict=True)), {}


def compiles_itself(case: Case) -> list[Finding]:
    """GB320 if code was compiled in a process that measures one case, and the case does not ask for it."""
    graphs = graphs_made() if case.compile == "off" and "torch._dynamo" in sys.modules else 0
    if not graphs:
        return []
    message = f"torch.compile made {graphs} graphs for {case.workload}, although the case says `compile: off`."
    return [finding("GB320", message, num_graphs=graphs)]


def contents(workload: Any, throughput: float | None) -> Metrics:
    """Throughput in the task's unit and the share of padding, if the workload says what its batches hold."""
    batches = workload.held() if isinstance(workload, Supervised) else []
    if not batches:
        return {}, {}
    num_samples, held = sum(num for num, _ in batches), [contents for _, contents in batches]
    padded, elements = sum(each.num_padded for each in held), sum(each.num_elements for each in held)
    told: dict[str, float | None] = {"padding_share": padded / elements}
    name = _UNITS.get(held[0].unit or "")
    if name is None:
        return told, {}
    told[name] = None if throughput is None else throughput * sum(each.num_units for each in held) / num_samples
    return told, {} if throughput is not None else {name: "there is no throughput"}


def model_size(effective: Effective) -> Metrics:
    """What the model's tensors take, of a workload that tells it."""
    size = effective.extra.get("compressed", {}).get("model_bytes")
    return ({}, {}) if size is None else ({"model_bytes": float(size)}, {})


def flops(launch: RunningJob, workload: Any, case: Case, throughput: float | None) -> Metrics:
    """FLOPs per sample and, with a throughput (samples/s), FLOP/s. GB314 if they were counted on one batch."""
    counted = count_flops(workload, case)
    if counted.depends_on_data:
        message = "The model reads values while it runs: its FLOPs are those of one batch of two samples."
        launch.findings.append(finding("GB314", message))
    if counted.per_sample is None:
        return all_absent(("flops_per_sample", "achieved_flops"), counted.reason or "not counted")
    if throughput is None:
        told: dict[str, float | None] = {"flops_per_sample": counted.per_sample, "achieved_flops": None}
        return told, {"achieved_flops": "there is no throughput"}
    return {"flops_per_sample": counted.per_sample, "achieved_flops": counted.per_sample * throughput}, {}


def traffic(launch: RunningJob, workload: Any, case: Case) -> Metrics:
    """Bytes per sample, how many of them are read and how many must pass through memory, and operators per step. A
    model's are counted in the first launch of a case only, as later launches would give the same.
    """
    names = ("bytes_per_sample", "operators_per_step", "bytes_read_share", "streamed_bytes_per_sample")
    if launch.job.repeat > 1 and not hasattr(workload, "bytes_per_sample"):
        return all_absent(names, "counted in the first launch")
    counted = count_bytes(workload, case)
    passes = case.accumulate if case.mode == "train" else 1
    operators = None if counted.operators is None else float(counted.operators * passes)
    values = dict(zip(names, (counted.per_sample, operators, counted.read_share, counted.streamed), strict=True))
    why = counted.reason or "not counted: the workload says how many bytes, and no more"
    return values, {name: why for name, value in values.items() if value is None}


def close(workload: Any) -> list[Finding]:
    """Closes the workload; GB102 if that raises or takes longer than 20 s. All figures are known by then."""

    def raise_too_long(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, raise_too_long)
    signal.setitimer(signal.ITIMER_REAL, CLOSE_TIMEOUT_S)  # in the main thread; not inside a call into C
    try:
        optional_facts.close(workload)
    except _TooLong:
        return [finding("GB102", f"The workload's `close` did not return within {CLOSE_TIMEOUT_S:.0f} s.")]
    except Exception as error:  # noqa: BLE001 - the figures stand whatever it is; the log has its traceback
        traceback.print_exc(file=sys.stderr)
        return [finding("GB102", f"The workload's `close` raised {in_one_line(error)}")]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return []


class _TooLong(BaseException):
    """Not an Exception, so that a workload's own `except Exception` does not catch it."""
