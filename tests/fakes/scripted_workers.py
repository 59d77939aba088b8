"""Real runs with workers that answer from a script: plan, schedule, records, reports are those of a run, torch is not."""

import math
from pathlib import Path

from fakes.runs import a_parity, a_quality, absent, effective, metrics, series
from fakes.scripted_host import Lab, ScriptedHost, Step, measures

from gpubench.protocol.messages import Hello, Job, Result, Turns
from gpubench.runner.launch.worker_hosts import HostPool
from gpubench.suite.model.case import Case

FACTORS = (1.000, 1.002, 0.999, 1.001, 0.998, 1.0005, 1.0015, 0.9995, 1.0, 0.9985)
VERSIONS = {"torch": "2.14.1", "cuda": None, "cudnn": None}


def _result(case: Case, repeat: int) -> Result:
    step_s = case.batch_size / (1000.0 * FACTORS[repeat % len(FACTORS)])
    return Result(
        effective=effective(case).model_copy(update={"versions": dict(VERSIONS)}),
        series=series(case, step_s),
        metrics=metrics(case, step_s),
        absent=absent(case),
        parity=a_parity(case, passed=True) if repeat == 1 else None,
    )


def script(job: Job) -> list[Step]:
    """Launches that vary by 0.1 %; arms that are all as fast as the first."""
    if job.kind == "quality":
        return measures(1.0, replace_quality(job))
    if job.kind == "measure":
        return measures(1.0, _result(job.case, job.repeat))
    if job.kind == "contest":
        return measures(1.0, Result(turns=_turns(job)))
    arms = [_result(arm.case, job.repeat) for arm in job.arms]
    log_ratio = FACTORS[job.repeat % len(FACTORS)] - 1
    others = [arm.model_copy(update={"block_log_ratio": log_ratio}) for arm in arms[1:]]
    return measures(1.0, Result(arms=(arms[0], *others)))


def _turns(job: Job) -> Turns:
    """Cases as fast as their launches say, the reference's twin as fast as itself."""
    noise = {arm.name: FACTORS[(job.repeat + at) % len(FACTORS)] for at, arm in enumerate(job.arms)}
    speeds = {name: math.log(1000.0 * factor) for name, factor in noise.items()}
    return Turns(num_turns=30, log_speeds=speeds, twin=speeds[job.arms[0].name] + 0.001, threads=2)


def replace_quality(job: Job) -> Result:
    return Result(effective=effective(job.case), quality=a_quality(0.95))


def script_the_workers(monkeypatch, answer=script) -> None:
    """Every run from here on gets its workers from the script. There is no CUDA device."""
    lab = Lab(Path("lab"), script=answer)

    def start(key, _log):
        host = ScriptedHost(key, lab)
        host.hello = Hello(pid=host.number, role="host", versions=VERSIONS, cuda_unavailable="Found no NVIDIA driver")
        return host

    for module in ("run", "run_session"):
        monkeypatch.setattr(
            f"gpubench.runner.{module}.HostPool", lambda log, told, **_: HostPool(log, told, start=start)
        )
