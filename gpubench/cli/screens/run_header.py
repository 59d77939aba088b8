"""What stands above the progress of a run: suite, arms, machine, state, skips and folder."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpubench.core.version import __version__
from gpubench.report.model.report_model import Fact, code, line
from gpubench.report.model.words import count
from gpubench.report.topics.set_up import machine_line
from gpubench.store.run_info import RunInfo


def header_facts(info: RunInfo, folder: Path | None, num_done: int = 0) -> tuple[Fact, ...]:
    """Suite, machine, state, skips and the run's folder. `num_done` launches had been done before (a resumed run)."""
    measured = [entry for entry in info.cases if entry.skip_status is None]
    cases = sum(entry.kind == "measure" for entry in measured)
    trained = len(measured) - cases
    quality = f" and {count(trained, 'quality run')}" if trained else ""
    rounds = f"at most {info.repeats} rounds of {len(info.arms)} arms"
    launches = rounds if info.arms else count(info.repeats, "launch", "launches")
    suite = f"suite {info.suite_name}, {count(cases, 'case')} x {launches}{quality}"
    states = filter(None, map(_gpu_state, info.environment.get("gpus") or ()))
    # Cases that this machine cannot run, one line per reason.
    skips = Counter(case.skip_reason or case.skip_status.value for case in info.cases if case.skip_status is not None)
    facts = [
        Fact(f"gpubench {__version__}", line(suite)),
        *_arms(info),
        Fact("Machine", line(machine_line(info))),
        *(Fact("State", line(state)) for state in states),
        *(Fact("Skips", line(f"{count(number, 'case')}: {reason}")) for reason, number in skips.items()),
    ]
    if num_done:
        facts.append(Fact("Resumes", line(f"{count(num_done, 'launch', 'launches')} done before")))
    if folder is not None:
        facts.append(Fact("Run", line(code(str(folder)))))
    return tuple(facts)


def _arms(info: RunInfo) -> list[Fact]:
    """The arms with their settings, and how they alternate."""
    if not info.arms:
        return []
    how = "alternating blocks of steps in one process" if info.interleave == "block" else "launches in turn"
    said = [f"{arm.name} ({arm.asked or 'as the suite says'})" for arm in info.arms]
    return [Fact("Arms", line(", ".join(said))), Fact("", line(how))]


def _gpu_state(gpu: Mapping[str, Any]) -> str:
    parts = []
    if gpu.get("sm_clock_max_mhz") is not None:
        parts.append(f"SM clock up to {gpu['sm_clock_max_mhz']:.0f} MHz")
    if gpu.get("power_limit_w") is not None:
        parts.append(f"power cap {gpu['power_limit_w']:.0f} W")
    volatile = gpu.get("volatile") or gpu
    if volatile.get("temperature_c") is not None:
        parts.append(f"{volatile['temperature_c']:.0f} C")
    processes = volatile.get("num_processes")
    if processes is not None:
        parts.append("no other process" if processes == 0 else count(processes, "other process", "other processes"))
    return ", ".join(parts)
