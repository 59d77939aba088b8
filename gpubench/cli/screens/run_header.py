"""The first lines of a run: what will run, on what, in what state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpubench.core.version import __version__
from gpubench.report.model.report_model import Fact, code, line
from gpubench.report.model.words import count
from gpubench.report.topics.set_up import machine_line
from gpubench.store.run_info import RunInfo


def header_facts(info: RunInfo, folder: Path | None, num_done: int = 0) -> tuple[Fact, ...]:
    """Suite, machine, state, skips and where the run goes. `num_done` launches were there before (a resumed run)."""
    measured = [entry for entry in info.cases if entry.skip_status is None]
    cases = sum(entry.kind == "measure" for entry in measured)
    trained = len(measured) - cases
    quality = f" and {count(trained, 'training run to a result', 'training runs to a result')}" if trained else ""
    facts = [
        Fact(
            f"gpubench {__version__}",
            line(f"suite {info.suite_name}, {count(cases, 'case')} x {_launches(info)}{quality}"),
        ),
        *_arms(info),
        Fact("Machine", line(machine_line(info))),
        *_state(info.environment),
        *_skips(info),
    ]
    if num_done:
        facts.append(Fact("Resumes", line(f"{count(num_done, 'launch', 'launches')} done before")))
    if folder is not None:
        facts.append(Fact("Run", line(code(str(folder)))))
    return tuple(facts)


def _launches(info: RunInfo) -> str:
    if not info.arms:
        return count(info.repeats, "launch", "launches")
    return f"at most {info.repeats} rounds of {len(info.arms)} arms"


def _arms(info: RunInfo) -> list[Fact]:
    """Each with what it was given, and how they take turns."""
    if not info.arms:
        return []
    how = "alternating blocks of steps in one process" if info.interleave == "block" else "launches in turn"
    said = [
        f"{arm.name} ({', '.join(f'{key}={value}' for key, value in arm.given.items() if key != 'commit') or 'as the suite says'})"
        for arm in info.arms
    ]
    return [Fact("Arms", line(", ".join(said))), Fact("", line(how))]


def _state(environment: Mapping[str, Any]) -> list[Fact]:
    return [Fact("State", line(text)) for gpu in environment.get("gpus") or () if (text := _gpu_state(gpu))]


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


def _skips(info: RunInfo) -> list[Fact]:
    """Cases that this machine cannot run, once per reason."""
    reasons: dict[str, int] = {}
    for entry in info.cases:
        if entry.skip_status is not None:
            said = entry.skip_reason or entry.skip_status.value
            reasons[said] = reasons.get(said, 0) + 1
    return [Fact("Skips", line(f"{count(number, 'case')}: {reason}")) for reason, number in reasons.items()]
