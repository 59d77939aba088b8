"""Why a card is slow: how its telemetry differs from that of the healthy cards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

Cause = Literal["host", "other program", "power cap", "temperature", "link", "ECC", "memory", "clock"]

_SHARE_MORE = 0.1
"""Share of the window throttled for one reason, in excess of the fleet's usual share, that counts as a cause."""

_LIMIT_LOWER = 0.02
_PART_OF_EXCESS = 0.5
"""A lower clock explains a slow card if it is lower by at least this part of the card's excess time."""

_THERMAL = ("sw_thermal", "hw_thermal")
_POWER = ("power_cap", "power_brake")


@dataclass(frozen=True)
class CardState:
    """Telemetry of a card while it was measured; None if not read. `throttled`: share of the window by reason. `ecc`: 1
    if it is on.
    """

    host: str
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    pcie_generation: float | None = None
    pcie_width: float | None = None
    ecc: float | None = None
    other_processes: float | None = None
    throttled: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Why:
    """The cause and a sentence with the evidence. `cause` is None if no reading explains it."""

    cause: Cause | None
    evidence: str


def why_slow(card: str, excess: float, states: Mapping[str, CardState], slow: Sequence[str]) -> Why:
    """Why `card` takes `excess` (a share) longer than the healthy cards: those of `states` that are not in `slow`.

    The first that applies: its host (at least half, and at least two, of the host's other cards are slow too), another
    program, power, heat, link, ECC, memory clock, core clock. Power and heat come first because they lower the clock.
    """
    own = states[card]
    neighbours = [name for name, state in states.items() if state.host == own.host and name != card]
    also = [name for name in neighbours if name in slow]
    if len(also) >= 2 and 2 * len(also) >= len(neighbours):
        return Why("host", f"{len(also)} of the {len(neighbours)} other cards of {own.host} are slow too")
    healthy = [state for name, state in states.items() if name not in slow]
    if _only_here(own.other_processes, [state.other_processes for state in healthy]):
        return Why("other program", f"other processes were on it: {own.other_processes:.0f}, on the others none")
    lower = _less(own.power_limit_w, [state.power_limit_w for state in healthy])
    if lower is not None and lower[0] >= _LIMIT_LOWER:
        return Why("power cap", f"its power limit is {own.power_limit_w:.0f} W, that of the others {lower[1]:.0f} W")
    for cause, reasons in (("power cap", _POWER), ("temperature", _THERMAL)):
        ours, usual = _throttled(own, reasons), median([_throttled(state, reasons) for state in healthy] or [0.0])
        if ours - usual >= _SHARE_MORE:
            heat = f" at {own.temperature_c:.0f} °C" if own.temperature_c is not None and cause == "temperature" else ""
            text = f"throttled for {cause} in {ours:.0%} of its time{heat}, the others in {usual:.0%}"
            return Why("power cap" if cause == "power cap" else "temperature", text)
    for name, link, links in (
        ("PCIe generation", own.pcie_generation, [state.pcie_generation for state in healthy]),
        ("PCIe lanes", own.pcie_width, [state.pcie_width for state in healthy]),
    ):
        lower = _less(link, links)
        if lower is not None and lower[0] > 0:
            return Why("link", f"{name}: {link:.0f}, the others {lower[1]:.0f}")
    if _only_here(own.ecc, [state.ecc for state in healthy]):
        return Why("ECC", "its ECC is on, that of the others off")
    for kind, clock, clocks in (
        ("memory", own.memory_clock_mhz, [state.memory_clock_mhz for state in healthy]),
        ("clock", own.sm_clock_mhz, [state.sm_clock_mhz for state in healthy]),
    ):
        lower = _less(clock, clocks)
        if lower is not None and lower[0] >= _PART_OF_EXCESS * excess:
            text = f"its {'memory' if kind == 'memory' else 'core'} clock is {clock:.0f} MHz, that of the others"
            return Why("memory" if kind == "memory" else "clock", f"{text} {lower[1]:.0f} MHz")
    return Why(None, _unexplained(own))


def _less(ours: float | None, theirs: Sequence[float | None]) -> tuple[float, float] | None:
    """By which share `ours` is below the usual value, and that value. None if either is unknown."""
    known = [value for value in theirs if value is not None]
    if ours is None or not known:
        return None
    usual = median(known)
    return (1 - ours / usual, usual) if usual > 0 else None


def _only_here(ours: float | None, theirs: Sequence[float | None]) -> bool:
    known = [value for value in theirs if value is not None]
    return bool(ours) and bool(known) and median(known) == 0


def _throttled(state: CardState, reasons: Sequence[str]) -> float:
    return sum(state.throttled.get(reason, 0.0) for reason in reasons)


def _unexplained(state: CardState) -> str:
    read = (state.sm_clock_mhz, state.memory_clock_mhz, state.power_limit_w, state.pcie_width)
    if all(value is None for value in read):
        return "unknown: the card's telemetry could not be read"
    return "unknown: clocks, limits, throttling and link are those of the others"
