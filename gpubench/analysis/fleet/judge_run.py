"""The cards of a stored fleet run: which are slow, by how much, and why."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from gpubench.analysis.fleet.causes import CardState, Why, why_slow
from gpubench.analysis.fleet.judge_cards import (
    FALSE_DISCOVERY_RATE,
    SLOWER_THAN,
    Retest,
    Screening,
    name_slow,
    probe_of,
    retest,
    screen,
)
from gpubench.core.records import RankRecord, Record, Status, latest
from gpubench.core.units import parse_fraction
from gpubench.store.run_info import RunInfo

CardVerdict = Literal["slow", "not confirmed", "healthy when measured again", "healthy", "not judged", "no figure"]

_THROTTLED = "throttled_"


@dataclass(frozen=True)
class FleetCard:
    """`number` is the `rank` of its records. `failed`: why it has no figure in any launch."""

    number: int
    node: int | None
    host: str
    device: str
    product: str | None
    uuid: str | None
    failed: str | None = None

    @property
    def name(self) -> str:
        where = f"node {self.node}" + (f" ({self.host})" if self.host else "")
        return where if self.device == "cpu" else f"{where} {self.device}"


@dataclass(frozen=True)
class FleetProbe:
    """One case on every card. `cards` has their numbers in the order of the screening, which is None with a reason.
    `retests` and `named` are by number; `limit` is the log of what is slow.
    """

    case_index: int
    label: str
    cards: tuple[int, ...]
    screening: Screening | None
    limit: float
    reason: str = ""
    retests: Mapping[int, Retest] | None = None
    named: Mapping[int, Retest] | None = None

    @property
    def suspects(self) -> tuple[int, ...]:
        """The slowest first."""
        return () if self.screening is None else tuple(self.cards[each] for each in self.screening.suspects)

    def excess(self, card: int) -> float | None:
        """By which share the card takes longer than the healthy ones, in the first launches."""
        if self.screening is None or card not in self.cards:
            return None
        return math.expm1(float(self.screening.excess[self.cards.index(card)]))

    def is_open(self, card: int) -> bool:
        """Whether the launches of a suspect leave room for either answer."""
        again = (self.retests or {}).get(card)
        return card not in (self.named or {}) and (again is None or again.high >= self.limit)


@dataclass(frozen=True)
class SlowCard:
    """The probe in which a card is slowest, and why it is. `excess` with its interval are logs."""

    card: FleetCard
    probe: FleetProbe
    retest: Retest
    why: Why


@dataclass(frozen=True)
class Fleet:
    cards: tuple[FleetCard, ...]
    probes: tuple[FleetProbe, ...]
    slow: tuple[SlowCard, ...]
    slower_than: float

    @property
    def suspected(self) -> frozenset[int]:
        return frozenset(card for probe in self.probes for card in probe.suspects)

    def verdict(self, card: FleetCard) -> CardVerdict:
        if card.failed is not None:
            return "no figure"
        if any(each.card is card for each in self.slow):
            return "slow"
        if not any(card.number in probe.cards and probe.screening is not None for probe in self.probes):
            return "not judged"
        mine = [probe for probe in self.probes if card.number in probe.suspects]
        if any(probe.is_open(card.number) for probe in mine):
            return "not confirmed"
        return "healthy when measured again" if mine else "healthy"


def settings_of(info: RunInfo) -> tuple[float, float] | None:
    """`slower_than` and `fdr` of a run that is a fleet's; None of any other."""
    found: Any = info.suite.get("fleet")
    if not isinstance(found, dict):
        return None
    return (
        parse_fraction(found.get("slower_than", SLOWER_THAN)),
        parse_fraction(found.get("fdr", FALSE_DISCOVERY_RATE)),
    )


def suspects_of(info: RunInfo, records: Sequence[Record]) -> dict[int, tuple[int, tuple[int, ...]]]:
    """By case: the number of the healthy card nearest the centre, and those of the suspects."""
    fleet = judge_fleet(info, records)
    if fleet is None:
        return {}
    return {
        probe.case_index: (probe.cards[probe.screening.reference], probe.suspects)
        for probe in fleet.probes
        if probe.screening is not None and probe.suspects
    }


def judge_fleet(info: RunInfo, records: Iterable[Record]) -> Fleet | None:
    """None if the run is not a fleet's."""
    settings = settings_of(info)
    if settings is None:
        return None
    slower_than, fdr = settings
    of_case: dict[int, list[Record]] = defaultdict(list)
    for record in latest(records):
        if record.status is Status.OK and record.ranks:
            of_case[record.case_index].append(record)
    cards = _cards([rank for each in of_case.values() for record in each for rank in record.ranks])
    planned = [case for case in info.cases if case.index in of_case]
    probes = tuple(
        _probe(case.index, case.label, of_case[case.index], len(planned), slower_than, fdr) for case in planned
    )
    slow = []
    for card in cards:
        named = [(probe, probe.named[card.number]) for probe in probes if probe.named and card.number in probe.named]
        if named:
            probe, found = max(named, key=lambda pair: pair[1].excess)
            why = _why(card, found, probe, of_case[probe.case_index], cards)
            slow.append(SlowCard(card, probe, found, why))
    slow.sort(key=lambda each: -each.retest.excess)
    return Fleet(cards, probes, tuple(slow), slower_than)


def _cards(ranks: Sequence[RankRecord]) -> tuple[FleetCard, ...]:
    last = {rank.rank: rank for rank in ranks}
    timed = {rank.rank for rank in ranks if rank.step_time_s is not None}
    return tuple(
        FleetCard(
            number,
            rank.node,
            rank.host or "",
            rank.device or "",
            rank.device_name,
            rank.device_uuid,
            None if number in timed else rank.absent.get("step_time_s", "it has no figure"),
        )
        for number, rank in sorted(last.items())
    )


def _probe(
    index: int, label: str, records: Sequence[Record], num_probes: int, slower_than: float, fdr: float
) -> FleetProbe:
    logs: dict[int, list[float]] = defaultdict(list)
    for record in records:
        for rank in record.ranks if record.kind == "measure" else ():
            if rank.step_time_s:
                logs[rank.rank].append(math.log(rank.step_time_s))
    cards, limit = tuple(sorted(logs)), math.log1p(slower_than)
    try:
        screening = screen(probe_of([logs[card] for card in cards]), slower_than=slower_than, num_probes=num_probes)
    except ValueError as error:
        return FleetProbe(index, label, cards, None, limit, str(error))
    again = _again(records, cards, screening)
    named = name_slow(screening, again, slower_than=slower_than, fdr=fdr)
    return FleetProbe(
        index,
        label,
        cards,
        screening,
        limit,
        retests={cards[place]: retest(each, screening, slower_than) for place, each in again.items()},
        named={cards[place]: each for place, each in named.items()},
    )


def _again(records: Sequence[Record], cards: Sequence[int], screening: Screening) -> dict[int, list[float]]:
    """Log ratios of each suspect to the reference, from the launches that have both; two at least."""
    found: dict[int, list[float]] = defaultdict(list)
    reference = cards[screening.reference]
    for record in records:
        times = {rank.rank: rank.step_time_s for rank in record.ranks if rank.step_time_s}
        if record.kind == "retest" and reference in times:
            for place in screening.suspects:
                if cards[place] in times:
                    found[place].append(math.log(times[cards[place]] / times[reference]))
    return {place: logs for place, logs in found.items() if len(logs) > 1}


def _why(
    card: FleetCard, found: Retest, probe: FleetProbe, records: Sequence[Record], cards: Sequence[FleetCard]
) -> Why:
    read: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for rank in record.ranks:
            for name, value in rank.telemetry.items():
                read[rank.rank][name].append(value)
    states = {each.name: _state(each, read[each.number]) for each in cards if each.number in probe.cards}
    slow = [each.name for each in cards if each.number in (probe.named or {})]
    return why_slow(card.name, math.expm1(found.excess), states, slow)


def _state(card: FleetCard, read: Mapping[str, Sequence[float]]) -> CardState:
    def usual(name: str) -> float | None:
        return median(read[name]) if read.get(name) else None

    return CardState(
        host=card.host,
        sm_clock_mhz=usual("sm_clock_mhz"),
        memory_clock_mhz=usual("memory_clock_mhz"),
        temperature_c=usual("temperature_c"),
        power_limit_w=usual("power_limit_w"),
        pcie_generation=usual("pcie_generation"),
        pcie_width=usual("pcie_width"),
        ecc=usual("ecc"),
        other_processes=usual("other_processes"),
        throttled={
            name.removeprefix(_THROTTLED): median(values)
            for name, values in read.items()
            if name.startswith(_THROTTLED)
        },
    )
