"""What a launch's ending means: a status, a reason, a failure and findings. Pure; the figures stay as they came."""

from typing import NamedTuple

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Failure, Status
from gpubench.core.units import format_duration
from gpubench.protocol.messages import Failed, Result
from gpubench.runner.launch.launching import Ending
from gpubench.runner.launch.worker_hosts import describe_exit


class Meaning(NamedTuple):
    """`status` None: the launch was stopped on request before it had anything to store."""

    status: Status | None
    reason: str | None = None
    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()


def meaning(ending: Ending, *, timeout_s: float, log: str | None) -> Meaning:
    """`log` is the path of the launch's log inside the run folder, None where it wrote nothing."""
    outcome = ending.outcome
    if isinstance(outcome, Result):
        return _measured(outcome, ending)
    if isinstance(outcome, Failed):
        failure = None if outcome.failure is None else outcome.failure.model_copy(update={"log": log})
        return Meaning(Status(outcome.status), outcome.reason, failure, outcome.findings)
    if ending.killed == "timeout":
        reason = f"no result within {format_duration(timeout_s)} (it was in {ending.phase})"
        return Meaning(Status.TIMEOUT, reason, _failure("TimeoutError", reason, ending, log))
    if ending.killed == "stop" or (ending.asked_to_stop is not None and ending.garbage is None):
        return Meaning(None)
    return _died(ending, log)


def _measured(outcome: Result, ending: Ending) -> Meaning:
    """Complete figures; what went wrong afterwards is a finding. Interrupted without a step: nothing to store."""
    if outcome.interrupted and outcome.series is None and outcome.quality is None:
        return Meaning(None)
    found = list(outcome.findings)
    if outcome.interrupted:
        why = "the time budget" if ending.asked_to_stop == "budget" else "a request to stop"
        found.append(finding("GB104", f"The measurement was ended early by {why}; the steps so far are kept."))
    trouble = _teardown(ending)
    if trouble is not None:
        found.append(finding("GB102", f"After its result the process {trouble}.", exit_code=ending.exit_code))
    return Meaning(Status.OK, None, None, tuple(found))


def _teardown(ending: Ending) -> str | None:
    if ending.killed == "teardown":
        return "did not end by itself and was killed"
    if ending.garbage is not None:
        return f"sent what is no message ({ending.garbage})"
    if ending.exit_code not in (None, 0) and ending.killed is None:
        return f"ended with {describe_exit(ending.exit_code or 0)}"
    return None


def _died(ending: Ending, log: str | None) -> Meaning:
    """No last word: it crashed, was killed from outside, or talked nonsense."""
    if ending.host_lost is not None:
        reason = f"{ending.host_lost} while the case was in {ending.phase}"
        return Meaning(Status.FAILED, reason, _failure("WorkerLost", reason, ending, log))
    if ending.garbage is not None:
        reason = f"the worker sent what is no message: {ending.garbage}"
        return Meaning(Status.FAILED, reason, _failure("ProtocolError", reason, ending, log))
    how = describe_exit(ending.exit_code or 0)
    reason = f"the process ended in {ending.phase} without a result ({how}{_explain(how)})"
    if ending.torn:
        reason += "; its last message is torn"
    return Meaning(Status.FAILED, reason, _failure("ProcessDied", reason, ending, log))


def _explain(how: str) -> str:
    return {
        "SIGKILL": ": killed from outside, as the kernel does when memory runs out",
        "SIGSEGV": ": a crash in native code",
        "SIGBUS": ": a crash in native code, or no room in /dev/shm",
        "SIGABRT": ": native code gave up",
    }.get(how, "")


def _failure(error: str, message: str, ending: Ending, log: str | None) -> Failure:
    code = ending.exit_code
    return Failure(
        phase=ending.phase,
        error=error,
        message=message,
        exit_code=code,
        signal=describe_exit(code) if code is not None and code < 0 else None,
        log=log,
    )
