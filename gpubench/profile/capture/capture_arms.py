"""Profiles two arms of one case in turn and explains what makes one slower: in one process where both fit into it, else
in a fresh process per window.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from gpubench.core.records import Estimate
from gpubench.profile.capture import capture_case, run_tool
from gpubench.profile.figures.explain_change import LEAST_TURNS, ArmWindows, ChangeExplained, explain
from gpubench.profile.figures.step_tree import Node, add_inputs, add_window
from gpubench.profile.traces.read_trace import read_trace
from gpubench.protocol.messages import JobArm
from gpubench.protocol.profile_job import JOB_FILE, ProfiledWindow, ProfileJob
from gpubench.store.atomic_files import replace_file

WORKER = "gpubench.worker.profiling.profiled_arms"
TURNS = 12
PROCESS_TURNS = 8
"""Where every window needs a process of its own."""
MOST_STEPS = 50
TURNS_S = 60.0
"""After so long no further turn begins, once there are enough."""

Say = Callable[[str], None]


def explain_arms(
    job: ProfileJob,
    arms: Sequence[JobArm],
    *,
    one_process: bool,
    timeout_s: float,
    judged: Estimate | None = None,
    say: Say = lambda _: None,
) -> ChangeExplained:
    """`arms` are the reference and the candidate, `judged` how the step time changed by the verdict; `job` says where
    relative paths of their case begin.

    SessionError if an arm cannot be profiled, TraceError if what was recorded cannot be read.
    """
    found = {arm.name: ArmWindows(arm.name, Node("step"), samples=arm.case.samples_per_step) for arm in arms}
    with run_tool.scratch_folder() as folder:
        if one_process:
            first = {"arms": tuple(arms), "windows": TURNS, "least_windows": LEAST_TURNS, "max_s": TURNS_S}
            _profile(job.model_copy(update={**first, "case": arms[0].case, "folder": folder}), found, timeout_s)
        else:
            order = random.Random(job.seed)
            for turn in range(PROCESS_TURNS):
                for arm in order.sample(list(arms), len(arms)):
                    say(f"turn {turn + 1} of {PROCESS_TURNS}, {arm.name}")
                    own = folder / f"{turn}-{arm.name}"
                    own.mkdir()
                    only = {"arms": (arm,), "windows": 1, "case": arm.case, "folder": own}
                    _profile(job.model_copy(update=only), found, timeout_s)
    reference, candidate = (found[arm.name] for arm in arms)
    return explain(reference, candidate, one_process=one_process, judged=judged)


def _profile(job: ProfileJob, found: dict[str, ArmWindows], timeout_s: float) -> None:
    """Runs the job and adds its windows to what was found."""
    plan = capture_case.plan(job, "torch", worker=WORKER)
    replace_file(plan.folder / JOB_FILE, plan.job.model_dump_json(indent=1).encode(), mode=0o600)
    ended = run_tool.run_tool(plan.command, log=plan.log, environ=plan.environ, timeout_s=timeout_s)
    for window in capture_case.result_of(plan, ended, timeout_s).windows:
        _add(window, found[window.arm], plan.folder)


def _add(window: ProfiledWindow, arm: ArmWindows, folder: Path) -> None:
    path = folder / window.trace
    trace = read_trace(path, operators=True)
    path.unlink()
    if window.shapes:
        add_inputs(arm.tree, trace)
        return
    arm.steps = add_window(arm.tree, trace, len(arm.step_times_s), window.waits_s)
    arm.step_times_s.append(window.step_time_s)
    arm.profiled_s.append(window.profiled_s)
