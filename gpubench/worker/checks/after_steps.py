"""Whether the steps did the work they were measured for: health, compiler, parity, FLOPs; and a clean end."""

import math
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Parity
from gpubench.core.units import format_percent
from gpubench.suite.model.case import Case
from gpubench.worker.checks import flops as flop_count
from gpubench.worker.checks import parity as parity_check
from gpubench.worker.checks import traffic as traffic_count
from gpubench.worker.job import RunningJob
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import Health
from gpubench.worker.workloads.compiled import CompileStats

Metrics = tuple[dict[str, float | None], dict[str, str]]

MAX_SKIPPED_SHARE = 0.01
CLOSE_TIMEOUT_S = 20.0

_PARITY = ("parity_logits_rel_error", "parity_loss_rel_error", "parity_gradient_rel_error")
_COMPILE = ("compile_s", "graph_breaks", "recompilations")


def health(launch: RunningJob, workload: Any, case: Case, num_steps: int, *, exact: bool = True) -> Metrics:
    """What the `num_steps` steps since the counters were set back did to the model: GB302, GB303, GB304, GB308.

    Not `exact`: the counters have seen other steps too, so their number is not judged.
    """
    told = optional_facts.health(workload)
    if told is None:
        return {"scaler_skipped_steps": None}, {"scaler_skipped_steps": "the workload has no `health` method"}
    launch.findings += _health_findings(told, case, num_steps, exact)
    if told.scaler_skipped_steps is None:
        return {"scaler_skipped_steps": None}, {"scaler_skipped_steps": "no GradScaler takes part"}
    return {"scaler_skipped_steps": float(told.scaler_skipped_steps)}, {}


def _health_findings(told: Health, case: Case, num_steps: int, exact: bool) -> Iterator[Finding]:
    skipped = told.scaler_skipped_steps or 0
    if not told.finite:
        what = "loss" if case.mode == "train" else "output"
        yield finding(
            "GB302", f"The {what} was NaN or infinite within {num_steps} measured steps.", num_steps=num_steps
        )
    if case.mode == "train" and told.parameters_moved is False:
        yield finding("GB303", f"{num_steps} training steps left every parameter as it was.", num_steps=num_steps)
    if skipped > MAX_SKIPPED_SHARE * num_steps:
        share = skipped / num_steps
        message = f"GradScaler skipped {skipped} of {num_steps} timed optimizer steps ({format_percent(share)})."
        yield finding("GB304", message, skipped=skipped, num_steps=num_steps)
    if exact and told.optimizer_steps is not None and told.optimizer_steps + skipped != num_steps:
        message = (
            f"{num_steps} steps were timed, and the workload did {told.optimizer_steps + skipped} optimizer steps."
        )
        yield finding("GB308", message, num_steps=num_steps, optimizer_steps=told.optimizer_steps, skipped=skipped)


def compiler(launch: RunningJob, case: Case, before: CompileStats | None, after: CompileStats | None) -> Metrics:
    """What torch.compile did, and GB309 if it compiled again between `before` and `after` the measured steps."""
    if before is None or after is None:
        return dict.fromkeys(_COMPILE), dict.fromkeys(_COMPILE, "the case does not use torch.compile")
    again = after.recompilations - before.recompilations
    if again > 0:
        message = f"torch.compile compiled {again} times more during the measured steps."
        launch.findings.append(finding("GB309", message, recompilations=again))
    if after.graph_breaks > 0:
        message = f"torch.compile broke the graph {after.graph_breaks} times ({case.workload})."
        launch.findings.append(finding("GB310", message, graph_breaks=after.graph_breaks))
    return dict(zip(_COMPILE, (after.compile_s, after.graph_breaks, after.recompilations), strict=True)), {}


def parity(launch: RunningJob, workload: Any, case: Case, device: Any) -> tuple[Parity | None, Metrics]:
    """The fixed batch against fp64: GB305 where it differs, GB306 where it could not be compared."""
    if not launch.job.parity:
        return None, (dict.fromkeys(_PARITY), dict.fromkeys(_PARITY, "not checked in this launch"))
    launch.enter("parity")
    try:
        found = parity_check.check(workload, case, device)
    except Exception as error:  # noqa: BLE001 - a check that fails leaves the figure unverified; its traceback is in the log
        traceback.print_exc()
        return None, _unverified(launch, f"The parity check itself failed: {type(error).__name__}: {error}")
    if found is None:
        return None, _unverified(launch, f"{case.workload} offers no reference output.")
    if not found.passed:
        launch.findings.append(_differs(found, case))
    errors = (found.logits_rel_error, found.loss_rel_error, found.gradient_rel_error)
    metrics = {name: _finite(error) for name, error in zip(_PARITY, errors, strict=True)}
    return found, (metrics, {name: _no_error(name, case) for name, value in metrics.items() if value is None})


def _unverified(launch: RunningJob, message: str) -> Metrics:
    launch.findings.append(finding("GB306", message))
    return dict.fromkeys(_PARITY), dict.fromkeys(_PARITY, message)


def _differs(found: Parity, case: Case) -> Finding:
    message = (
        f"Against fp64 the logits differ by {found.logits_rel_error:.2g} (at most {found.logits_limit:g} at {case.precision}) "
        f"and the loss by {found.loss_rel_error:.2g} (at most {found.loss_limit:g})."
    )
    return finding("GB305", message, logits=found.logits_rel_error, loss=found.loss_rel_error)


def _finite(error: float | None) -> float | None:
    return None if error is None or not math.isfinite(error) else error


def _no_error(name: str, case: Case) -> str:
    if "gradient" in name and case.mode == "infer":
        return "inference has no gradient"
    return "the result was not finite, or of another shape"


def flops(workload: Any, case: Case, throughput: float | None) -> Metrics:
    """FLOPs per sample and, where there is a throughput (samples/s), FLOP/s."""
    counted = flop_count.count(workload, case)
    if counted.per_sample is None:
        reason = counted.reason or "not counted"
        return {"flops_per_sample": None, "achieved_flops": None}, {
            "flops_per_sample": reason,
            "achieved_flops": reason,
        }
    if throughput is None:
        return {"flops_per_sample": counted.per_sample, "achieved_flops": None}, {
            "achieved_flops": "there is no throughput"
        }
    return {"flops_per_sample": counted.per_sample, "achieved_flops": counted.per_sample * throughput}, {}


def traffic(launch: RunningJob, workload: Any, case: Case) -> Metrics:
    """Bytes per sample and operators per step. A model's are counted in the first launch of a case: the next ones would
    count the same.
    """
    names = ("bytes_per_sample", "operators_per_step")
    if launch.job.repeat > 1 and not hasattr(workload, "bytes_per_sample"):
        return dict.fromkeys(names), dict.fromkeys(names, "counted in the first launch")
    counted = traffic_count.count(workload, case)
    operators = (
        None
        if counted.operators is None
        else float(counted.operators * (case.accumulate if case.mode == "train" else 1))
    )
    told = dict(zip(names, (counted.per_sample, operators), strict=True))
    return told, {name: counted.reason or "not counted" for name, value in told.items() if value is None}


def close(workload: Any) -> list[Finding]:
    """Closes the workload; GB102 where it raises or takes longer than 20 s. The figures are complete by then."""
    try:
        with _time_limit(CLOSE_TIMEOUT_S):
            optional_facts.close(workload)
    except _TooLong:
        return [finding("GB102", f"The workload's `close` did not return within {CLOSE_TIMEOUT_S:.0f} s.")]
    except Exception as error:  # noqa: BLE001 - whatever it is, the figures stand; its traceback is in the log
        traceback.print_exc(file=sys.stderr)
        return [finding("GB102", f"The workload's `close` raised {type(error).__name__}: {error}")]
    return []


class _TooLong(BaseException):
    """Not an Exception, so that a workload's own `except Exception` does not catch it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """_TooLong in the main thread after so many seconds; cannot interrupt a call into C that never returns."""

    def raise_too_long(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, raise_too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
