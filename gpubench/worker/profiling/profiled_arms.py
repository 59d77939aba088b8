"""The worker's half of "why is this arm slower": arms built in one process and profiled in turn, a few steps each.

    python -u -m gpubench.worker.profiling.profiled_arms FOLDER/job.json

The arms are those of an A/B in blocks, switched like them. Each turn runs every arm twice: without a profiler, for its
step time, and with one. A last window of each arm records what its operators were given.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice, pairwise
from statistics import fmean
from typing import Any

from gpubench.core.cpus import own_delay_s
from gpubench.protocol.messages import Job, Message
from gpubench.protocol.profile_job import ProfiledWindow, ProfileJob, ProfileResult
from gpubench.worker.ab.replicas import Replica
from gpubench.worker.ab.turns import orders
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.job import RunningJob, Stop
from gpubench.worker.profiling.profiled_steps import TorchListener, main
from gpubench.worker.timing import loop

WINDOW_S = 0.25
LEAST_STEPS = 3
_SHAPE_STEPS = 1


class _Silent:
    """Nobody follows this job while it runs."""

    def send(self, message: Message) -> None: ...

    def offer(self, message: Message) -> bool:  # noqa: ARG002
        return True


def profile_arms(job: ProfileJob, torch: Any) -> ProfileResult:
    """Raises what a workload raises, Unsupported, or SettingsMismatch if a setting does not hold after a switch."""
    began_s = time.perf_counter()
    listeners = {arm.name: TorchListener(job) for arm in job.arms}
    launch = RunningJob(_as_job(job), _Silent(), Stop())
    loop.create_context(accelerator_of(job.case.device))
    with ExitStack() as open_replicas:
        replicas = {}
        for arm in job.arms:
            replica = replicas[arm.name] = Replica(arm, launch, torch, listeners[arm.name].phase)
            open_replicas.callback(replica.close)
            replica.build()
        for replica in replicas.values():
            replica.plan_blocks(max(LEAST_STEPS, min(job.steps, round(WINDOW_S / replica.step_s))))
            replica.begin()
        build_s = time.perf_counter() - began_s
        windows = list(_turns(job, replicas, listeners, time.perf_counter() + max(job.max_s - build_s, 0)))
        windows += [_window(replicas[name], listeners[name], f"{name}-shapes", shapes=True) for name in replicas]
        effective = replicas[job.arms[-1].name].launch.effective
    return ProfileResult(status="ok", effective=effective, windows=tuple(windows))


def _as_job(job: ProfileJob) -> Job:
    return Job(
        job=0,
        kind="blocks",
        case=job.case,
        arms=job.arms,
        suite=job.suite,
        label=job.label,
        log=os.devnull,
        search_path=job.search_path,
        download=job.download,
    )


def _turns(
    job: ProfileJob, replicas: dict[str, Replica], listeners: dict[str, TorchListener], until_s: float
) -> Iterator[ProfiledWindow]:
    for turn, order in enumerate(islice(orders(sorted(replicas), job.seed), job.windows)):
        if turn >= job.least_windows and time.perf_counter() > until_s:
            return
        for name in order:
            yield _window(replicas[name], listeners[name], f"{name}-{turn}")


def _window(replica: Replica, listener: TorchListener, trace: str, *, shapes: bool = False) -> ProfiledWindow:
    replica.switch_to()
    replica.run_block(lambda: False)
    replica.blocks.clear()
    num_steps = _SHAPE_STEPS if shapes else replica.kept * replica.group
    listener.record_into(f"{trace}.json", num_steps, shapes=shapes)
    with replica.steps() as (step, wait), listener.capturing(step, wait):
        marked = listener.marked(step)
        delays_s, began_s = [own_delay_s() or 0.0], time.perf_counter()
        for _ in range(num_steps):
            marked()
            delays_s.append(own_delay_s() or 0.0)
        wait()
        profiled_s = time.perf_counter() - began_s
    waits_s = [after - before for before, after in pairwise(delays_s)] if replica.leaves_waits_out else []
    return ProfiledWindow(
        arm=replica.name,
        trace=f"{trace}.json",
        steps=num_steps,
        step_time_s=fmean(replica.own_s),
        profiled_s=(profiled_s - sum(waits_s)) / num_steps,
        waits_s=tuple(waits_s),
        shapes=shapes,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], profile_arms))
