"""Ceilings: the highest arithmetic and bandwidth measured on a device, never a number from a datasheet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import TypeAdapter

from gpubench.core.anonymity import anonymise
from gpubench.core.findings import Validity
from gpubench.core.records import Estimate
from gpubench.store.run_info import RunInfo
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS

if TYPE_CHECKING:
    from gpubench.analysis.summary.case_summary import CaseSummary

Quantity = Literal[
    "flops",
    "flops_burst",
    "memory",
    "memory_read",
    "memory_write",
    "memory_triad",
    "h2d_pinned",
    "h2d_pageable",
    "launch",
    "graph_launch",
]
"""`flops` is what a device sustains, `memory` that of a copy."""

OPERATORS = "operators:"
CPU = "cpu"
_LEAST_CAPPED = 0.01
_POWER_STATE = ("sm_clock_mhz", "power_w", "at_power_limit")
_STATE = ("sm_clock_mhz", "mean_power_w", "burst_sm_clock_mhz", "burst_power_w")
_STREAMS: dict[str, Quantity] = {"read": "memory_read", "write": "memory_write", "triad": "memory_triad"}
_ESTIMATE = TypeAdapter(Estimate)
_COPIES: dict[str, Quantity] = {"resident": "memory", "pinned": "h2d_pinned", "pageable": "h2d_pageable"}


@dataclass(frozen=True)
class CeilingDevice:
    """The device of a ceiling: a card by its UUID, or `cpu` with its number of threads."""

    key: str
    name: str
    threads: int | None = None


@dataclass(frozen=True)
class Ceiling:
    """`value` in FLOP/s (`flops*`, with the precision), bytes/s (`memory*`, `h2d_*`) or launches/s.

    It comes from the case `label` of `run`. `conditions` are the versions and the power limit it is valid for;
    `suspect`: a finding weakens the figure. `flops*` have the SM clock and power at which they were reached, and
    whether the power limit held the clocks down meanwhile; None if not read.
    """

    quantity: Quantity
    precision: str | None
    device: CeilingDevice
    value: Estimate
    label: str
    run: str
    measured: str
    conditions: Mapping[str, Any] = field(default_factory=dict)
    suspect: bool = False
    sm_clock_mhz: float | None = None
    power_w: float | None = None
    at_power_limit: bool | None = None

    @property
    def kind(self) -> tuple[str, int | None, Quantity, str | None]:
        """Ceilings of equal kind measure the same thing."""
        return self.device.key, self.device.threads, self.quantity, self.precision


class Ceilings:
    """The ceiling to use for every kind. `current`: the conditions of the present run, by device key.

    Among those measured under the same conditions the highest counts: a peak is the most ever reached. If there is
    none, the newest from other conditions is used, and `elsewhere` says so.
    """

    def __init__(self, found: Iterable[Ceiling] = (), current: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._current = current or {}
        self._chosen: dict[tuple[Any, ...], Ceiling] = {}
        for ceiling in found:
            kept = self._chosen.get(ceiling.kind)
            if kept is None or self._rank(ceiling) > self._rank(kept):
                self._chosen[ceiling.kind] = ceiling

    def _rank(self, ceiling: Ceiling) -> tuple[bool, str, float]:
        here = not self.elsewhere(ceiling)
        return here, "" if here else ceiling.measured, ceiling.value.value

    def elsewhere(self, ceiling: Ceiling) -> tuple[str, ...]:
        """Names of the conditions that differ from the run's; empty if they are unknown."""
        current = self._current.get(ceiling.device.key, {})
        return tuple(name for name, value in ceiling.conditions.items() if current.get(name, value) != value)

    def __iter__(self) -> Any:
        return iter(self._chosen.values())

    def get(self, device: CeilingDevice | None, quantity: Quantity, precision: str | None = None) -> Ceiling | None:
        if device is None:
            return None
        return self._chosen.get((device.key, device.threads, quantity, precision))

    def peak_flops(self, entry: "CaseSummary", device: CeilingDevice | None) -> Ceiling | None:
        """The arithmetic ceiling of a case's own device, threads and precision: what the device sustains."""
        return self.get(device, "flops", PRECISIONS[entry.case.precision].ceiling)

    def arithmetic_roof(self, entry: "CaseSummary", device: CeilingDevice | None) -> Ceiling | None:
        """The highest that the case's power state allows: a burst's, unless the power limit held its clocks down."""
        sustained = self.peak_flops(entry, device)
        burst = self.get(device, "flops_burst", PRECISIONS[entry.case.precision].ceiling)
        if sustained is None or burst is None or at_power_limit(entry):
            return sustained
        return max(sustained, burst, key=lambda each: each.value.value)


def at_power_limit(entry: "CaseSummary") -> bool | None:
    """Whether the power limit held the clocks down in any launch's window; None if that was not read."""
    by_reason = [(record.telemetry or {}).get("throttle_share_by_reason") or {} for record in entry.ok_records]
    shares = [found["power_cap"] for found in by_reason if found.get("power_cap") is not None]
    return any(share > _LEAST_CAPPED for share in shares) if shares else None


def device_of(entry: "CaseSummary", environment: Mapping[str, Any]) -> CeilingDevice | None:
    """The device that a case ran on; None if unknown."""
    effective = entry.effective
    if effective is None:
        return None
    if entry.case.device_type == "cpu":
        name = (environment.get("cpu") or {}).get("model") or "CPU"
        return _device(CPU, str(name), effective.cpu_threads)
    uuid = effective.device_uuid
    return None if uuid is None else _device(uuid, effective.device_name or "GPU", None)


_device = lru_cache(maxsize=1024)(CeilingDevice)


def ceilings_of(info: RunInfo, entries: Sequence["CaseSummary"]) -> Ceilings:
    """The ceilings measured by a run, and those known when it began."""
    keys = {device.key for entry in entries if (device := device_of(entry, info.environment)) is not None}
    current = {key: conditions_of(info, key) for key in keys}
    return Ceilings((*known_ceilings(info, keys), *measured_ceilings(info, entries)), current)


def measured_ceilings(info: RunInfo, entries: Iterable["CaseSummary"]) -> tuple[Ceiling, ...]:
    """One ceiling per operator case with a figure that is not INVALID, in the order of the plan."""
    found = []
    for entry in entries:
        what = _what(entry.case)
        device = None if what is None else device_of(entry, info.environment)
        if device is None or what is None or not entry.usable:
            continue
        quantity, precision, metric = what
        value = entry.metrics.get(metric)
        if value is not None:
            where = (entry.label, info.run, info.created, conditions_of(info, device.key))
            kept = Ceiling(quantity, precision, device, value, *where, entry.validity is Validity.SUSPECT)
            found += _in_two_states(kept, entry) if quantity == "flops" else [kept]
    return tuple(found)


def _in_two_states(sustained: Ceiling, entry: "CaseSummary") -> list[Ceiling]:
    """With clock and power beside each; only one without a burst's figure."""
    clock, power, burst_clock, burst_power = (
        None if (found := entry.metrics.get(name)) is None else found.value for name in _STATE
    )
    states = [replace(sustained, sm_clock_mhz=clock, power_w=power, at_power_limit=at_power_limit(entry))]
    value = entry.metrics.get("burst_flops")
    if value is not None:
        reached = replace(sustained, quantity="flops_burst", value=value)
        states.append(replace(reached, sm_clock_mhz=burst_clock, power_w=burst_power))
    return states


def is_operator(case: Case) -> bool:
    return case.workload.startswith(OPERATORS)


def _what(case: Case) -> tuple[Quantity, str | None, str] | None:
    """What an operator case measures: quantity, precision and metric."""
    operator = case.workload.removeprefix(OPERATORS) if is_operator(case) else ""
    if operator in ("matmul", "conv2d"):
        return "flops", case.precision, "achieved_flops"
    if operator == "copy" and case.data_path in _COPIES:
        return _COPIES[case.data_path], None, "achieved_bandwidth"
    if operator in _STREAMS:
        return _STREAMS[operator], None, "achieved_bandwidth"
    if operator == "launch":
        return "graph_launch" if case.cuda_graph else "launch", None, "throughput"
    return None


def conditions_of(info: RunInfo, key: str) -> dict[str, Any]:
    """The versions used, and a card's driver and power limit; unknown ones are left out."""
    environment = info.environment
    worker = environment.get("worker") or {}
    found = {"torch": info.versions.get("torch") or worker.get("torch")}
    if key != CPU:
        gpus = [gpu for gpu in environment.get("gpus") or () if gpu.get("uuid") in (key, anonymise(key))]
        driver = (environment.get("driver") or {}).get("driver")
        limit_w = gpus[0].get("power_limit_w") if gpus else None
        found |= {"cudnn": worker.get("cudnn"), "driver": driver, "power_limit_w": limit_w}
    return {name: value for name, value in found.items() if value is not None}


def known_ceilings(info: RunInfo, keys: Iterable[str]) -> tuple[Ceiling, ...]:
    """The ceilings of these devices in the run's environment; unreadable entries are left out."""
    stored = info.environment.get("ceilings") or {}
    found = (from_facts(key, facts) for key in keys for facts in stored.get(key) or stored.get(anonymise(key)) or ())
    return tuple(ceiling for ceiling in found if ceiling is not None)


def to_facts(ceiling: Ceiling) -> dict[str, Any]:
    """The ceiling in JSON types; `from_facts` reads it back."""
    plain = ("quantity", "precision", "label", "run", "measured", "suspect", *_POWER_STATE)
    named = {name: getattr(ceiling, name) for name in plain}
    device = {"device_name": ceiling.device.name, "threads": ceiling.device.threads}
    value = asdict(ceiling.value)
    return {**named, **device, "value": value, "conditions": dict(ceiling.conditions)}


def from_facts(key: str, facts: Mapping[str, Any]) -> Ceiling | None:
    """A ceiling from JSON types; None for anything else, as a cache file may contain anything."""
    if facts.get("quantity") not in get_args(Quantity):
        return None
    try:
        return Ceiling(
            quantity=facts["quantity"],
            precision=facts["precision"],
            device=CeilingDevice(key, facts["device_name"], facts["threads"]),
            value=_ESTIMATE.validate_python(facts["value"]),
            label=facts["label"],
            run=facts["run"],
            measured=facts["measured"],
            conditions=dict(facts["conditions"]),
            suspect=bool(facts["suspect"]),
            **{name: facts.get(name) for name in _POWER_STATE},
        )
    except (KeyError, TypeError, ValueError):
        return None


def judge_by_peaks(info: RunInfo, entries: Sequence["CaseSummary"], ceilings: Ceilings) -> None:
    """Gives each case the peak measured on its device at its precision, for its MFU."""
    known = any(ceilings)
    for entry in entries:
        if not is_operator(entry.case):
            peak = ceilings.peak_flops(entry, device_of(entry, info.environment)) if known else None
            entry.metrics.peak_flops = 0.0 if peak is None else peak.value.value
