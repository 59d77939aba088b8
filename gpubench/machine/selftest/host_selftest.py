"""The self-test of a host: its clocks, its steadiness, and the sampler's cost to a running program."""

import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from statistics import median
from typing import Any

from gpubench.core.cpus import usable_cpus
from gpubench.core.units import format_percent
from gpubench.machine import host_facts, machine_cache
from gpubench.machine.doctor_row import DoctorRow, Group, Level, doctor_row
from gpubench.machine.selftest import alternating_blocks
from gpubench.machine.selftest.helper_program import Program, ProgramError
from gpubench.telemetry.devices.base import Device, TelemetryError
from gpubench.telemetry.devices.rapl import open_rapl
from gpubench.telemetry.devices.replay import Recording, ReplayDevice
from gpubench.telemetry.sampling.sampler import Sampler, Schedule

SAMPLER_BUDGET = 0.005
"""Share of the step time that sampling may cost."""

NOT_RUN = "not run (--self-test runs it)"

_PAIRS = 24
_BLOCK_S = 0.25
_CLOCK_S = 0.5
_CLOCKS_AGREE = 5e-4
_STEADY = 0.02
_START_S = 10.0


def identity() -> dict[str, Any]:
    """The identity under which the host's facts are cached."""
    return {
        "kind": "host",
        "cpu": host_facts.cpu()["model"],
        "threads": usable_cpus(),
        "kernel": platform.release(),
    }


def measure(say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Clocks and blocks, about 15 s. Facts by name, JSON types; `error` if the load could not be run."""
    say("clocks")
    facts: dict[str, Any] = {"clocks": clocks()}
    say(f"sampler on and off during a CPU load, {2 * _PAIRS * _BLOCK_S:.0f} s")
    try:
        facts |= beside_load()
    except ProgramError as error:
        facts["error"] = str(error)
    return facts | {"measured_unix_s": round(time.time())}


def clocks(seconds: float = _CLOCK_S) -> dict[str, Any]:
    """How well the clocks of this process agree over `seconds`, their resolution (the smallest step between readings),
    and by how much a sleep of 1 ms is late (median). Units: s; rates relative.
    """
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC)
    readers: dict[str, Callable[[], float]] = {
        "perf_counter": time.perf_counter,
        "time": time.time,
        "monotonic_raw": lambda: time.clock_gettime(raw),
    }
    before = {name: (time.monotonic(), read()) for name, read in readers.items()}
    time.sleep(seconds)
    rates = {}
    for name, read in readers.items():
        base_s, start_s = before[name]
        elapsed_s, reference_s = read() - start_s, time.monotonic() - base_s
        rates[name] = elapsed_s / reference_s - 1
    steps, excess = [], []
    for _ in range(1000):
        start_s = time.perf_counter()
        while (now_s := time.perf_counter()) == start_s:
            pass
        steps.append(now_s - start_s)
    for _ in range(50):
        start_s = time.perf_counter()
        time.sleep(0.001)
        excess.append(time.perf_counter() - start_s - 0.001)
    return {"relative_to_monotonic": rates, "resolution_s": min(steps), "sleep_excess_s": median(excess)}


def beside_load(num_pairs: int = _PAIRS, block_s: float = _BLOCK_S) -> dict[str, Any]:
    """A CPU load with the sampler on and off in alternating blocks. ProgramError if the load fails."""
    device = _something_to_read()
    sampler = Sampler(device, Schedule(probe_periods=False))
    sampler.pause(True)
    sampler.start()
    seconds = 2 * num_pairs * block_s + 1.0
    try:
        with Program("gpubench.machine.selftest.cpu_load", f"{seconds:.3f}") as program:
            program.line(_START_S)
            time.sleep(0.2)
            schedule = alternating_blocks.alternate(lambda on: sampler.pause(not on), num_pairs, block_s)
            steps = [tuple(step) for step in program.line(seconds + _START_S)["steps"]]
    finally:
        sampler.stop()
        device.close()
    return {"sampled": device.kind, **judge(steps, schedule)}


def judge(steps: list[alternating_blocks.Step], schedule: list[alternating_blocks.ArmBlock]) -> dict[str, Any]:
    """Steadiness of the quiet blocks, the sampler's cost, and the comparison of quiet blocks with themselves."""
    quiet = [block for block in schedule if not block.arm]
    inside = [length for start, length in steps if any(block.start_s <= start < block.end_s for block in quiet)]
    middle = median(inside) if inside else math.nan
    deviations = [abs(length - middle) for length in inside]
    cost = alternating_blocks.compare(steps, schedule)
    itself = alternating_blocks.compare(steps, alternating_blocks.same_arm(schedule))
    return {
        "step_s": middle if inside else None,
        "spread": 1.4826 * median(deviations) / middle if inside else None,
        "slow_steps": sum(length > 1.2 * middle for length in inside) / len(inside) if inside else None,
        "sampler_cost": asdict(cost) if cost else None,
        "same_arm": asdict(itself) if itself else None,
    }


def _something_to_read() -> Device:
    """The CPU's counters if they can be read; else a recording, so that the thread does its usual work."""
    try:
        return open_rapl()
    except TelemetryError:
        times = [0.05 * position for position in range(40_000)]
        flat = [300.0] * len(times)
        counter = [15.0 * at for at in times]
        fast = {"time_s": times, "power_instant_w": flat, "power_average_w": flat, "counter_j": counter}
        return ReplayDevice(Recording("stand-in", fast, {}))


_row = partial(doctor_row, Group.SELF_TEST)


def rows(facts: Mapping[str, Any] | None) -> list[DoctorRow]:
    """`facts` of `measure`, or None if it was not run."""
    if facts is None:
        return [_row("self-test", Level.NA, NOT_RUN)]
    worst = max(abs(rate) for rate in facts["clocks"]["relative_to_monotonic"].values())
    text = f"clocks agree to {worst * 1e6:.0f} ppm, resolution {facts['clocks']['resolution_s'] * 1e9:.0f} ns"
    remedy = "A clock is being stepped or slewed: check time synchronisation, and the clock source."
    timers = _row("timer agreement", Level.OK if worst <= _CLOCKS_AGREE else Level.BAD, text, remedy)
    if facts.get("error"):
        return [timers, _row("load", Level.NA, str(facts["error"]))]

    spread, slow = facts.get("spread"), facts.get("slow_steps")
    steady = _row("steadiness", Level.NA, "too few steps")
    if spread is not None and slow is not None:
        text = (
            f"equal steps spread by {format_percent(spread)}, {format_percent(slow)} of them over 1.2 times the median"
        )
        remedy = "Expect wide intervals for CPU cases: stop other programs, pin the run, set the performance governor."
        steady = _row("steadiness", Level.OK if spread <= _STEADY and slow <= 0.05 else Level.WARN, text, remedy)

    ratio, itself = facts.get("same_arm"), _row("A/A comparison", Level.NA, "too few blocks")
    if ratio and ratio["low"] is not None:
        text = f"a load against itself: {ratio['value'] - 1:+.2%} ({ratio['low'] - 1:+.2%} to {ratio['high'] - 1:+.2%})"
        remedy = "Two equal halves differ: this machine drifts; compare interleaved runs only."
        itself = _row("A/A comparison", Level.OK if ratio["low"] <= 1 <= ratio["high"] else Level.WARN, text, remedy)
    return [timers, steady, itself, cost_row("sampler cost (CPU)", facts)]


def cost_row(name: str, facts: Mapping[str, Any]) -> DoctorRow:
    """The sampler's cost with its interval, against the budget of 0.5 %."""
    ratio = facts.get("sampler_cost")
    if not ratio or ratio["low"] is None:
        return _row(name, Level.NA, "too few blocks")
    text = f"{ratio['value'] - 1:+.2%} of step time ({ratio['low'] - 1:+.2%} to {ratio['high'] - 1:+.2%})"
    level = Level.WARN if ratio["low"] - 1 > SAMPLER_BUDGET else Level.OK
    remedy = "Above the budget of 0.5 %: use `measure: {telemetry: boundary}` for CPU-bound cases."
    return _row(name, level, text, remedy)


def cached(where: Any = None) -> dict[str, Any] | None:
    """The last facts of this host."""
    return machine_cache.load(identity(), where)
