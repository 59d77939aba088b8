"""Measures undocumented facts of one card: update periods, call latencies, aliasing, GPM, the sampler's cost."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from gpubench.core.units import format_duration, format_percent
from gpubench.machine import machine_cache
from gpubench.machine.doctor_row import DoctorRow, Group, Level, doctor_row
from gpubench.machine.selftest import alternating_blocks as blocks
from gpubench.machine.selftest import host_selftest
from gpubench.machine.selftest.helper_program import Program, ProgramError
from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.nvml import NvmlBackend
from gpubench.telemetry.devices.nvml.card import NvmlDevice
from gpubench.telemetry.devices.periods import measure_periods
from gpubench.telemetry.sampled_device import SampledDevice
from gpubench.telemetry.sampling.sampler import Schedule

_STEADY_S = 10.0
_ALTERNATE_S = 8.0
_COST_PAIRS = 24
_COST_BLOCK_S = 0.25
_SETTLE_S = 2.0
_WINDOW_S = 5.0
_START_S = 180.0
_REPEATS = 30
_SLOW_CALL_S = 0.005
_CLOCKS_AGREE = 0.01
_ALIAS_PCT = 3.0
_STEADY_SPREAD = 0.02


def identity(uuid: str, driver: str | None) -> dict[str, Any]:
    """The identity under which a card's facts are cached."""
    return {"kind": "gpu", "uuid": uuid, "driver": driver}


def measure(
    backend: NvmlBackend, uuid: str, cuda_device: str, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """About 40 s of work on the card. Facts by name, JSON types; `error` if the load could not be run there."""
    device = backend.open(Identity(uuid=uuid))
    say(f"{device.name}: calls on the idle card")
    facts: dict[str, Any] = {"name": device.name, "latency_idle_s": latencies(device), "gpm": _gpm(device)}
    cost_s = 2 * _COST_PAIRS * _COST_BLOCK_S + 1.0
    parts = f"steady:{_STEADY_S},alternate:{_ALTERNATE_S},steady:{cost_s}"
    total_s = _STEADY_S + _ALTERNATE_S + cost_s
    monitored = SampledDevice(device, "sampled", Schedule(probe_periods=False)).start()
    try:
        with Program("gpubench.worker.doctor_work", "load", "--device", cuda_device, "--parts", parts) as program:
            program.line(_START_S)
            say(f"{device.name}: under load, {total_s:.0f} s")
            facts |= _under_load(program, device, monitored)
    except (ProgramError, TelemetryError) as error:
        facts["error"] = str(error)
    finally:
        monitored.close()
    return facts | {"measured_unix_s": round(time.time())}


def latencies(device: NvmlDevice) -> dict[str, float]:
    """Median time of each kind of call in seconds, over 30 of them."""
    calls: dict[str, Callable[[], object]] = {
        "fast_tick": device.read_fast,
        "slow_tick": device.read_slow,
        "process_list": device.survey,
    }
    medians = {}
    for name, call in calls.items():
        times = []
        for _ in range(_REPEATS):
            start_s = time.perf_counter()
            call()
            times.append(time.perf_counter() - start_s)
        medians[name] = median(times)
    return medians


def _gpm(device: NvmlDevice) -> dict[str, Any]:
    """Whether GPM may be read: two samples 150 ms apart."""
    device.activity()
    time.sleep(0.15)
    found = device.activity()
    return {"readable": found is not None, "why_not": None if found else device.missing.get("activity", "no sample")}


def _under_load(program: Program, device: NvmlDevice, monitored: SampledDevice) -> dict[str, Any]:
    """The three parts in turn: a steady load, one that alternates every 50 ms, and the sampler's cost."""
    program.line(5.0)
    time.sleep(_SETTLE_S)
    facts: dict[str, Any] = {"latency_loaded_s": latencies(device)}

    def never_ends(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    periods = measure_periods(device, time.monotonic, never_ends, poll_s=0.002, least_s=2.0)
    monitored.sampler.periods = periods
    facts["update_periods_s"] = periods.as_dict()
    steady = program.line(_STEADY_S + 10)
    # CUDA events against the wall clock; a CPU has no events.
    events_s, wall_s = steady["events_s"], steady["end_s"] - steady["start_s"]
    facts["clock_difference"] = None if events_s is None else float(events_s / wall_s - 1)
    program.line(5.0)
    alternating = program.line(_ALTERNATE_S + 10)
    facts |= _aliasing(monitored, steady, alternating)
    program.line(5.0)
    schedule = blocks.alternate(lambda on: monitored.sampler.pause(not on), _COST_PAIRS, _COST_BLOCK_S, seed=1)
    steps = [tuple(step) for step in program.line(_START_S)["steps"]]
    return facts | host_selftest.judge(steps, schedule)


def _aliasing(monitored: SampledDevice, steady: Mapping[str, Any], alternating: Mapping[str, Any]) -> dict[str, Any]:
    """The energy counter and the instantaneous power against the one-second average, under both loads.

    A sensor that samples all of the time agrees under both; the difference is aliasing.
    """
    calm, choppy = (_differences(monitored, part) for part in (steady, alternating))

    def change(name: str) -> float | None:
        one, other = calm[name], choppy[name]
        return None if one is None or other is None else other - one

    return {
        "counter_alias_pct": change("counter"),
        "instant_alias_pct": change("instant"),
        "mean_power_steady_w": calm["mean_power_w"],
        "mean_power_alternating_w": choppy["mean_power_w"],
    }


def _differences(monitored: SampledDevice, part: Mapping[str, Any]) -> dict[str, float | None]:
    """Over the last five seconds of a part, in % of the one-second average."""
    end_s = part["end_s"] - 0.2
    summary = monitored.summarise(end_s - _WINDOW_S, end_s, 0)
    detail = summary.detail
    if detail["energy_source"] != "counter_ticks" or "cross_check" not in detail:
        return {"counter": None, "instant": None, "mean_power_w": summary.metrics["mean_power_w"]}
    counter = detail["cross_check"]["difference_pct"]
    instant = detail.get("instant_difference_pct")
    # Instant power against the counter, on the average's scale.
    on_average = None if instant is None else ((1 + instant / 100) * (1 + counter / 100) - 1) * 100
    return {"counter": counter, "instant": on_average, "mean_power_w": summary.metrics["mean_power_w"]}


def rows(title: str, facts: Mapping[str, Any] | None, why_not: str = host_selftest.NOT_RUN) -> list[DoctorRow]:
    """`facts` of `measure`, or None if the card was not measured, for the reason `why_not`."""
    if facts is None:
        return [_row(f"{title} self-test", Level.NA, why_not)]
    gpm, readable = facts["gpm"], "SM, tensor and DRAM activity readable"
    activity = (Level.OK, readable) if gpm["readable"] else (Level.NA, str(gpm["why_not"]))
    found = [_row(f"{title} GPM", *activity), _latency_row(title, facts)]
    if facts.get("error"):
        remedy = "The doctor could not compute on this card: see the rows on torch and CUDA."
        return [*found, _row(f"{title} load", Level.NA, str(facts["error"]), remedy)]
    timers = _row(f"{title} timers", Level.NA, "no CUDA events")
    if (difference := facts["clock_difference"]) is not None:
        level = Level.OK if abs(difference) <= _CLOCKS_AGREE else Level.BAD
        remedy = "No timing on this card can be trusted: update the driver, or check the virtual machine's clock."
        timers = _row(f"{title} timers", level, f"CUDA events and wall clock differ by {difference:+.3%}", remedy)

    periods = [
        f"{name.removesuffix('_s').replace('_', ' ')} {format_duration(period)}"
        for name, period in facts["update_periods_s"].items()
        if period is not None
    ]
    updates = (Level.OK, ", ".join(periods)) if periods else (Level.NA, "no reading changed often enough")

    steady = _row(f"{title} steadiness", Level.NA, "too few steps")
    if (spread := facts.get("spread")) is not None:
        text = f"equal steps of {format_duration(facts['step_s'])} spread by {format_percent(spread)}"
        remedy = "Lock the clocks, or give the card time to warm up before measuring."
        steady = _row(f"{title} steadiness", Level.OK if spread <= _STEADY_SPREAD else Level.WARN, text, remedy)
    return [
        *found,
        timers,
        _row(f"{title} update periods", *updates),
        # Energy rests on the counter; that instant power aliases is known and harmless.
        _alias_row(f"{title} energy counter", facts["counter_alias_pct"], Level.BAD),
        _alias_row(f"{title} instant power", facts["instant_alias_pct"], Level.OK),
        steady,
        host_selftest.cost_row(f"{title} sampler cost", facts),
    ]


_row = partial(doctor_row, Group.SELF_TEST)


def _latency_row(title: str, facts: Mapping[str, Any]) -> DoctorRow:
    idle, loaded = facts["latency_idle_s"], facts.get("latency_loaded_s")
    text = ", ".join(
        f"{name.replace('_', ' ')} {format_duration(idle[name])}"
        + (f" ({format_duration(loaded[name])} loaded)" if loaded else "")
        for name in idle
    )
    slow = max((loaded or idle)["fast_tick"], idle["fast_tick"]) > _SLOW_CALL_S
    remedy = "Slow driver calls thin out the readings: use a slower tick, or `measure: {telemetry: boundary}`."
    return _row(f"{title} call latency", Level.WARN if slow else Level.OK, text, remedy)


def _alias_row(name: str, percent: float | None, level: Level) -> DoctorRow:
    """`level` if the sensor aliases."""
    if percent is None:
        return _row(name, Level.NA, "could not be compared with the one-second average")
    if abs(percent) <= _ALIAS_PCT:
        return _row(name, Level.OK, f"sees all of a changing load ({percent:+.1f}% against a steady one)")
    remedy = "Do not quote energy from this card: its counter misses part of a changing load."
    return _row(name, level, f"aliases: {percent:+.1f}% on a load of 50 ms in every 100 ms", remedy)


def cached(uuid: str, driver: str | None, where: Any = None) -> dict[str, Any] | None:
    """The last facts of this card under this driver."""
    return machine_cache.load(identity(uuid, driver), where)
